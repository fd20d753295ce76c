#include "backends/qemu/shares.h"

#include "attest/error.h"
#include "backends/qemu/command_line.h"
#include "backends/qemu/virtiofsd.h"
#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/text.h"

#include <unistd.h>

#include <array>
#include <csignal>

namespace attest::qemu {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t most_words = 4096;

}  // namespace

// One daemon and what it complains about.
struct Shares::Daemon {
  Daemon(asio::any_io_executor loop, async::ChildSpec spec) : child(loop, std::move(spec)) {}

  static Task<void> listen(std::shared_ptr<std::string> words, std::unique_ptr<Stream> stream) {
    std::array<char, 1024> buffer;
    while (auto count = co_await stream->read_some(buffer)) {
      words->append(buffer.data(), count);
      if (words->size() > most_words) words->erase(0, words->size() - most_words);
    }
  }

  fs::path host;
  bool writable = false;
  std::string tag;
  std::shared_ptr<std::string> words = std::make_shared<std::string>();
  async::Child child;
};

Shares::Shares(asio::any_io_executor loop, std::shared_ptr<Running> running, fs::path directory,
               int slots, std::string why_not)
    : loop_(loop),
      running_(std::move(running)),
      directory_(std::move(directory)),
      slots_(slots),
      why_not_(std::move(why_not)),
      plugging_(loop) {}

Shares::~Shares() = default;

Task<FileSharing::Mount> Shares::share(fs::path host, bool writable, Deadline deadline) {
  auto self = shared_from_this();
  auto lock = co_await self->plugging_.lock();
  std::error_code ignored;
  host = fs::absolute(host);
  if (!fs::is_directory(host, ignored))
    throw Error(Error::Kind::host, "'" + host.string() + "' is no directory of this host")
        .hint("give a directory that exists");
  auto mount = [](const Daemon& daemon) {
    return FileSharing::Mount{"virtiofs", daemon.tag, daemon.writable ? "" : "ro"};
  };
  for (auto& daemon : self->daemons_)
    if (daemon->host == host && daemon->writable == writable && daemon->child.running())
      co_return mount(*daemon);
  if (self->slots_ == 0) throw Error(Error::Kind::unsupported, self->why_not_);
  int slot = static_cast<int>(self->daemons_.size());
  if (slot >= self->slots_)
    throw Error(Error::Kind::unsupported,
                "all " + std::to_string(self->slots_) + " slots for shared directories are taken")
        .hint("name the directories in the config's 'mounts', which makes a slot for each");
  auto daemon = co_await self->start(host, writable, slot, deadline);
  std::exception_ptr failure;
  try {
    co_await self->plug(daemon, slot, deadline);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) {
    self->daemons_.push_back(daemon);
    co_return mount(*daemon);
  }
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    if (error.kind() == Error::Kind::timeout || !self->running_->alive()) throw;
    std::string words(base::trim(base::printable(*daemon->words)));
    throw Error(Error::Kind::unsupported, "virtiofsd cannot share '" + host.string() + "': " +
                                              (words.empty() ? std::string(error.what()) : words));
  }
}

Task<std::shared_ptr<Shares::Daemon>> Shares::start(fs::path host, bool writable, int slot,
                                                    Deadline deadline) {
  if (program_.empty()) {
    std::string program = find_virtiofsd();
    is_c_ = is_c_virtiofsd(co_await virtiofsd_version(program, deadline));
    program_ = program;
  }
  fs::path path = directory_ / share_slot(slot);
  base::Fd listener = base::listen_unix(path.string());
  auto [ours, theirs] = base::make_pipe();
  VirtiofsdCall call{.program = program_,
                     .is_c = is_c_,
                     .directory = host,
                     .writable = writable,
                     .root = ::geteuid() == 0};
  async::ChildSpec spec;
  spec.argv = virtiofsd_command(call);
  spec.fds.emplace(2, std::move(theirs));
  spec.fds.emplace(call.listen_fd, std::move(listener));
  auto daemon = std::make_shared<Daemon>(loop_, std::move(spec));
  daemon->host = host;
  daemon->writable = writable;
  daemon->tag = "attest-" + std::to_string(slot);
  // It ends with the pipe, and reports nothing: share() reads the words after a failure.
  asio::co_spawn(loop_, Daemon::listen(daemon->words, async::make_stream(loop_, std::move(ours))),
                 [](std::exception_ptr) {});
  co_return daemon;
}

Task<void> Shares::plug(std::shared_ptr<Daemon> daemon, int slot, Deadline deadline) {
  auto& qmp = *running_->qmp();
  std::string id = "\"" + share_slot(slot) + "-fs\"";
  // By a name relative to QEMU's working directory: it needs no escaping and is never too long.
  std::string chardev = R"({"id": )" + id +
                        R"(, "backend": {"type": "socket", "data": {"server": false, "addr": )" +
                        R"({"type": "unix", "data": {"path": ")" + share_slot(slot) + R"("}}}}})";
  co_await qmp.execute("chardev-add", chardev, deadline);
  // Its place is taken for QEMU only; nobody else can come.
  std::error_code ignored;
  fs::remove(directory_ / share_slot(slot), ignored);
  std::string device = R"({"driver": "vhost-user-fs-pci", "id": )" + id + R"(, "chardev": )" + id +
                       R"(, "tag": ")" + daemon->tag + R"(", "bus": ")" + share_slot(slot) + "\"}";
  std::exception_ptr failure;
  try {
    co_await qmp.execute("device_add", device, deadline);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  // What the daemon has to say about it may still be in the pipe.
  daemon->child.signal(SIGTERM);
  try {
    co_await async::within(Deadline::after(1s), "", daemon->child.wait());
  } catch (const Error&) {
  }
  try {
    co_await qmp.execute("chardev-remove", R"({"id": )" + id + "}", deadline);
  } catch (const Error&) {  // the first failure is what counts
  }
  std::rethrow_exception(failure);
}

}  // namespace attest::qemu
