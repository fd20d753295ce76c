#include "backends/nspawn/prepare.h"

#include "attest/error.h"
#include "backends/image/image.h"
#include "backends/image/seed.h"
#include "backends/nspawn/upper.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"
#include "lib/net/kernel/netlink.h"
#include "lib/net/kernel/netns.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace attest::nspawn {
namespace {

namespace fs = std::filesystem;

// Directories of work_dir that are new for every boot.
constexpr const char* fresh[] = {"upper", "overlay"};
constexpr std::string_view agent_socket = "/run/attest/agent.sock";

// The agent of an image looks for a virtio port, which a container has not.
SeedFile dial_seed() {
  return {.path = "/etc/systemd/system/attest-agent.service.d/50-nspawn.conf",
          .content = "[Service]\nExecStart=\nExecStart=/usr/lib/attest/attest-agent --unix-dial " +
                     std::string(agent_socket) + "\n",
          .mode = 0644};
}

// systemd and nspawn lay their own file systems over these: what is in the tree would be hidden.
bool is_covered(const std::string& path) {
  return path.starts_with("/run/") || path.starts_with("/tmp/");
}

// Ids are those of the host only where the map is the whole range onto itself.
bool in_user_namespace() {
  auto map = base::try_read_file("/proc/self/uid_map").value_or("");
  unsigned inside = 1, outside = 1, count = 0;
  return std::sscanf(map.c_str(), "%u %u %u", &inside, &outside, &count) != 3 || inside != 0 ||
         outside != 0 || count != 4294967295U;
}

// Whether its owner has no id in our user namespace: such files show the "overflow" id.
bool is_foreign(const fs::path& path) {
  struct stat status{};
  auto overflow = base::try_read_file("/proc/sys/kernel/overflowuid").value_or("65534");
  return ::stat(path.c_str(), &status) == 0 &&
         std::to_string(status.st_uid) == base::trim(overflow);
}

fs::path find_tree(const BackendContext& context, bool& agent_dials) {
  auto& config = context.config;
  if (!config.nspawn.toplevel.empty()) {
    fs::path init = fs::path(config.nspawn.toplevel) / "init";
    // Where the store is elsewhere, the path is one of the container's.
    if (config.nspawn.store == "/nix/store" && ::access(init.c_str(), X_OK) != 0)
      throw Error(Error::Kind::usage, "there is no NixOS system at '" + config.nspawn.toplevel +
                                          "': cannot execute '" + init.string() + "'")
          .hint("give the path of config.system.build.toplevel");
    return {};
  }
  auto image = image::find_image(config.image, "nspawn");
  if (image.tree.empty() || !fs::is_directory(image.tree))
    throw Error(Error::Kind::usage, "the image '" + image.name +
                                        "' has no directory tree, which a container boots from")
        .hint("build it again: sh guest/debian/build.sh");
  if (in_user_namespace() && is_foreign(image.tree))
    throw Error(Error::Kind::usage, "the tree of the image '" + image.name +
                                        "' belongs to another user: most of its services would "
                                        "fail, since its root is nobody here ('" +
                                        image.tree.string() + "')")
        .hint("build the image as the user who runs the tests: sh guest/debian/build.sh");
  agent_dials = config.nspawn.agent && image.channel == "agent" && !context.agent.empty();
  return fs::canonical(image.tree);
}

base::Fd listen_notify(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string text = path.string();
  if (text.size() >= sizeof address.sun_path)
    throw Error(Error::Kind::host, "the socket path '" + text + "' is too long");
  std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  ::unlink(text.c_str());
  base::Fd socket(base::check(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                              "making the notification socket"));
  base::check(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              "binding the notification socket '" + text + "'");
  return socket;
}

void add_binds(const BackendContext& context, Launch& launch) {
  fs::path shared = shared_directory(context);
  fs::create_directories(shared);
  launch.binds.push_back({.host = shared, .guest = "/tmp/shared", .writable = true});
  auto& config = context.config;
  for (auto& mount : config.mounts) {
    auto host = fs::absolute(mount.host);
    if (!fs::is_directory(host))
      throw Error(Error::Kind::usage, "'" + host.string() + "', which is to be mounted at '" +
                                          mount.guest + "', is not a directory of the host");
    launch.binds.push_back({.host = host, .guest = mount.guest, .writable = mount.writable});
  }
  if (!config.nspawn.toplevel.empty())
    launch.binds.push_back(
        {.host = fs::absolute(config.nspawn.store), .guest = "/nix/store", .writable = false});
  for (std::size_t i = 0; i < launch.binds.size(); ++i)
    fs::create_directories(launch.work_dir / ("bind" + std::to_string(i)));
}

void add_seed(const BackendContext& context, Site& site) {
  auto seed = context.seed;
  if (site.agent_dials) {
    seed.push_back(image::agent_seed(context.agent));
    seed.push_back(dial_seed());
  }
  auto& launch = site.launch;
  std::vector<SeedFile> rooted;
  for (auto& file : seed) {
    if (!is_covered(file.path)) {
      rooted.push_back(std::move(file));
      continue;
    }
    std::string name = "seed" + std::to_string(launch.own_binds.size());
    fs::path made = launch.work_dir / name;
    base::write_file(made, file.content);
    base::check(::chmod(made.c_str(), file.mode & 07777), "setting the mode of a seed file");
    launch.own_binds.emplace_back(name, file.path);
  }
  write_seed(launch.tree, launch.work_dir / "upper", rooted);
}

}  // namespace

Links::Links(const BackendContext& context) : plugs_(context.plugs), netns_(net::make_netns()) {
  try {
    for (auto& nic : context.network) {
      plugs_->plug_veth(nic, "eth" + std::to_string(plugged_.size()), netns_.get());
      plugged_.push_back(nic);
    }
  } catch (...) {
    remove();
    throw;
  }
}

Links::~Links() { remove(); }

void Links::remove() noexcept {
  for (auto& nic : plugged_) plugs_->unplug(nic);
  plugged_.clear();
}

void Site::remove() noexcept {
  if (removed) return;
  removed = true;
  cgroup.reset();
  links.reset();
  listener.reset();
  std::error_code ignored;
  for (const char* name : fresh) fs::remove_all(launch.work_dir / name, ignored);
}

async::ChildSpec Site::spec(const MachineConfig& config) const {
  async::ChildSpec spec;
  spec.argv = command_line(config, launch, table);
  spec.env = environment(config, launch);
  if (links)
    spec.fds.emplace(launch.netns_fd,
                     base::Fd(base::check(::fcntl(links->netns().get(), F_DUPFD_CLOEXEC, 0),
                                          "duplicating a network namespace's descriptor")));
  return spec;
}

fs::path shared_directory(const BackendContext& context) {
  return context.work_dir.parent_path() / "shared-xchg";
}

fs::path cgroup_place(const BackendContext& context) {
  auto parent = own_cgroup();
  if (!parent)
    throw Error(Error::Kind::host, "this process is in no cgroup v2 that is mounted here");
  return *parent / ("attest-" + base::random_hex(4) + "-" + context.machine);
}

std::shared_ptr<Site> prepare(const BackendContext& context, fs::path cgroup) {
  auto& config = context.config;
  auto site = std::make_shared<Site>();
  auto& launch = site->launch;
  launch.machine = context.machine;
  launch.work_dir = context.work_dir;
  std::string program = async::find_program(config.nspawn.binary);
  if (program.empty())
    throw Error(Error::Kind::host, "the program '" + config.nspawn.binary + "' was not found")
        .hint("install it (Debian: systemd-container), or give its path as 'nspawn.binary'");
  // PATH may lead through /run, which is covered there.
  launch.program = fs::canonical(program);
  launch.tree = find_tree(context, site->agent_dials);
  std::error_code ignored;
  for (const char* name : fresh) fs::remove_all(launch.work_dir / name, ignored);
  for (const char* name : {"upper", "overlay", "root", "tree", "agent"})
    fs::create_directories(launch.work_dir / name);
  // The root of the machine's file system has the upper directory's mode.
  base::check(::chmod((launch.work_dir / "upper").c_str(), 0755), "setting a mode");
  if (launch.tree.empty()) {
    launch.tree = launch.work_dir / "empty";
    fs::create_directories(launch.tree);
  }
  if (!fs::is_directory("/run/systemd")) launch.run_dir = "/run";
  launch.user_namespace = in_user_namespace();
  launch.own_network = network_of(config) != Network::host;

  add_binds(context, launch);
  add_seed(context, *site);
  if (site->agent_dials) {
    launch.own_binds.emplace_back("agent", "/run/attest");
    site->listener = base::listen_unix((launch.work_dir / "agent" / "agent.sock").string());
    // accept_one() asks once before it waits.
    base::check(::fcntl(site->listener.get(), F_SETFL, O_NONBLOCK), "setting up a socket");
  }
  site->notify = listen_notify(launch.work_dir / "notify");
  site->cgroup = std::make_unique<Cgroup>(std::move(cgroup));
  site->cgroup->limit_memory(config.memory_mb);
  launch.cgroup = site->cgroup->path();
  if (launch.own_network) site->links = std::make_unique<Links>(context);
  site->table = launch.work_dir / "mounts";
  base::write_file(site->table, mount_table(launch));
  return site;
}

}  // namespace attest::nspawn
