#include "tests/sims/common/guest_vm.h"

#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/base/sys_error.h"
#include "lib/proto/qmp.h"
#include "lib/proto/qmp_codec.h"
#include "tests/sims/common/guest_command.h"
#include "tests/sims/common/socket.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace attest::sims {
namespace {

using nlohmann::json;

// Of any one answer of QEMU, on a host that is busy with other tests.
constexpr auto patience = std::chrono::seconds(120);

}  // namespace

struct GuestVm::Impl {
  Impl(asio::any_io_executor executor, GuestDescription what, Listener tell)
      : loop(executor), description(std::move(what)), listener(std::move(tell)), news(executor) {}

  static Task<void> read_output(std::shared_ptr<Impl> self);
  static Task<void> read_events(std::shared_ptr<Impl> self);
  static Task<void> wait_end(std::shared_ptr<Impl> self);
  static Task<void> launch(std::shared_ptr<Impl> self, GuestMemory memory, bool incoming);
  static Task<json> command(std::shared_ptr<Impl> self, std::string name, json arguments);
  static Task<void> set_capabilities(std::shared_ptr<Impl> self, bool ignore_shared);
  /// After migrate or migrate-incoming.
  static Task<void> migrated(std::shared_ptr<Impl> self, std::string what);

  void tell(GuestEvent event) {
    if (listener) listener(event);
  }
  void pass(const std::string& name, int fd);
  base::Fd make_memory() const;

  asio::any_io_executor loop;
  GuestDescription description;
  Listener listener;
  std::shared_ptr<base::Fd> shared_memory;
  std::string kernel;  ///< its kind
  GuestWiring wiring;
  std::unique_ptr<Stream> output;
  std::unique_ptr<async::Child> child;
  std::unique_ptr<proto::Qmp> qmp;
  base::Fd qmp_socket;  ///< a duplicate, for descriptors to go with
  std::string words, ending, migration;
  async::Event news;
  bool running = false, leaving = false, ended = false;
  /// Paused by a save: QEMU does not save a second time before it has run.
  std::string last_state, last_memory;
  int drive_changes = 0;
};

Task<void> GuestVm::Impl::read_output(std::shared_ptr<Impl> self) {
  std::array<char, 4096> bytes;
  while (std::size_t count = co_await self->output->read_some(bytes)) {
    self->words.append(bytes.data(), count);
    if (self->words.size() > 8192) self->words.erase(0, self->words.size() - 8192);
  }
}

Task<void> GuestVm::Impl::read_events(std::shared_ptr<Impl> self) {
  while (auto event = co_await self->qmp->next_event(Deadline::never())) {
    json data = json::parse(event->data, nullptr, false);
    if (event->name == "MIGRATION") {
      std::string status = data.value("status", "");
      if (status == "completed" || status == "failed") self->migration = status;
    } else if (event->name == "SHUTDOWN" && data.value("guest", false)) {
      self->running = false;
      self->tell(data.value("reason", "") == "guest-reset" ? GuestEvent::reset : GuestEvent::off);
    } else if (event->name == "RESET" && data.value("guest", false)) {
      self->tell(GuestEvent::reset);
    } else if (event->name == "GUEST_PANICKED") {
      self->tell(GuestEvent::panicked);
    }
    self->news.pulse();
  }
}

Task<void> GuestVm::Impl::wait_end(std::shared_ptr<Impl> self) {
  auto status = co_await self->child->wait();
  self->ending = "QEMU " + status.words();
  self->running = false;
  self->ended = true;
  self->news.pulse();
  if (!self->leaving) self->tell(GuestEvent::died);
}

base::Fd GuestVm::Impl::make_memory() const {
  base::Fd memory(
      base::check(::memfd_create("guest-ram", MFD_CLOEXEC), "making the guest's memory"));
  base::check(::ftruncate(memory.get(), static_cast<off_t>(description.memory_mb) << 20),
              "sizing the guest's memory");
  return memory;
}

Task<void> GuestVm::Impl::launch(std::shared_ptr<Impl> self, GuestMemory memory, bool incoming) {
  self->wiring = {};
  auto spec = guest_command(self->description, memory, incoming, self->wiring);
  auto argv = spec.argv;
  self->child = std::make_unique<async::Child>(self->loop, std::move(spec));
  self->output = async::make_stream(self->loop, std::move(self->wiring.output));
  self->qmp_socket.reset(base::check(::fcntl(self->wiring.qmp.get(), F_DUPFD_CLOEXEC, 0),
                                     "duplicating the QMP socket"));
  self->qmp = std::make_unique<proto::Qmp>(
      self->loop, async::make_stream(self->loop, std::move(self->wiring.qmp)));
  asio::co_spawn(self->loop, read_output(self), [](std::exception_ptr) {});
  asio::co_spawn(self->loop, wait_end(self), [](std::exception_ptr) {});
  std::string failure;
  try {
    co_await self->qmp->negotiate(Deadline::after(patience));
  } catch (const Error& refused) {
    failure = refused.what();
  }
  if (!failure.empty()) {
    self->leaving = true;  // whoever asked hears it as the failure
    self->child->kill();
    co_await self->child->wait();
    throw Error(Error::Kind::host, "QEMU did not start: " + failure).attach("QEMU", self->words);
  }
  asio::co_spawn(self->loop, read_events(self), [](std::exception_ptr) {});
  for (auto& drive : self->description.drives) {
    if (drive.rate.bytes_s == 0 && drive.rate.ops_s == 0) continue;
    json limits = throttle(self->description, drive);
    co_await command(self, "block_set_io_throttle", limits);
  }
}

Task<json> GuestVm::Impl::command(std::shared_ptr<Impl> self, std::string name, json arguments) {
  if (!self->qmp || self->ended)
    throw Error(Error::Kind::host, "the guest is not there: " + self->ending);
  std::string text = arguments.is_null() ? "" : arguments.dump();
  std::string answer = co_await self->qmp->execute(name, text, Deadline::after(patience));
  co_return json::parse(answer, nullptr, false);
}

Task<void> GuestVm::Impl::set_capabilities(std::shared_ptr<Impl> self, bool ignore_shared) {
  json wanted = json::array();
  wanted.push_back({{"capability", "x-ignore-shared"}, {"state", ignore_shared}});
  wanted.push_back({{"capability", "events"}, {"state", true}});
  json arguments = {{"capabilities", wanted}};
  co_await command(self, "migrate-set-capabilities", arguments);
}

Task<void> GuestVm::Impl::migrated(std::shared_ptr<Impl> self, std::string what) {
  while (self->migration.empty() && !self->ended) co_await self->news.next();
  if (self->migration == "completed") co_return;
  throw Error(Error::Kind::host, what + " failed: " + self->ending).attach("QEMU", self->words);
}

// QEMU keeps what came last with any byte for the getfd that follows. Blanks between commands are
// nothing to it.
void GuestVm::Impl::pass(const std::string& name, int fd) {
  char blank = '\n';
  iovec part{&blank, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(qmp_socket.get(), &message, MSG_NOSIGNAL) != 1)
    throw base::sys_error("passing '" + name + "' to QEMU");
}

GuestVm::GuestVm(asio::any_io_executor loop, GuestDescription description, Listener listener)
    : impl_(std::make_shared<Impl>(loop, std::move(description), std::move(listener))) {}

GuestVm::~GuestVm() {
  impl_->listener = nullptr;
  impl_->leaving = true;
  if (impl_->qmp) impl_->qmp->close();
  if (impl_->child) impl_->child->kill();
}

Task<void> GuestVm::start() {
  auto impl = impl_;
  impl->shared_memory = std::make_shared<base::Fd>(impl->make_memory());
  impl->kernel = kernel_kind(impl->description.kernel);
  GuestMemory memory;
  memory.shared = impl->shared_memory;
  co_await Impl::launch(impl, memory, false);
}

Task<void> GuestVm::start_from(std::string state_file, std::string memory_file) {
  auto impl = impl_;
  auto saved = read_saved(state_file);
  base::Fd state(base::check(::open(state_file.c_str(), O_RDONLY | O_CLOEXEC),
                             "opening the state file '" + state_file + "'"));
  base::check(static_cast<int>(::lseek(state.get(), static_cast<off_t>(saved.size), SEEK_SET)),
              "reading the state file");
  GuestMemory memory;
  if (!saved.memory_file || ::access(memory_file.c_str(), W_OK) != 0) {
    impl->shared_memory = std::make_shared<base::Fd>(impl->make_memory());
    memory.shared = impl->shared_memory;
  } else {
    impl->shared_memory.reset();
    memory.private_file = memory_file;
  }
  if (saved.memory_file && memory.shared) {
    base::Fd file(base::check(::open(memory_file.c_str(), O_RDONLY | O_CLOEXEC),
                              "opening the memory file '" + memory_file + "'"));
    copy_sparse(file.get(), "/proc/self/fd/" + std::to_string(memory.shared->get()));
  }
  impl->kernel = saved.kernel;
  base::Fd kernel;
  impl->description.kernel.clear();
  impl->description.initrd.clear();
  if (!saved.kernel.empty()) {
    kernel = unused_kernel(saved.kernel);
    impl->description.kernel =
        "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(kernel.get());
  }
  co_await Impl::launch(impl, memory, true);
  co_await Impl::set_capabilities(impl, saved.memory_file);
  impl->migration.clear();
  impl->pass("state", state.get());
  json name = {{"fdname", "state"}};
  co_await Impl::command(impl, "getfd", name);
  json uri = {{"uri", "fd:state"}};
  co_await Impl::command(impl, "migrate-incoming", uri);
  co_await Impl::migrated(impl, "loading the state");
}

Task<void> GuestVm::pause() {
  auto impl = impl_;
  co_await Impl::command(impl, "stop", json());
  impl->running = false;
}

Task<void> GuestVm::resume() {
  auto impl = impl_;
  // QEMU tells of a migration's end a moment before it can go on (7.2: "not finalized yet").
  for (auto end = Deadline::after(patience);;) {
    std::string refusal;
    try {
      co_await Impl::command(impl, "cont", json());
      break;
    } catch (const Error& refused) {
      refusal = refused.what();
      if (end.passed() || refusal.find("not finalized") == refusal.npos) throw;
    }
    asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(2));
    co_await timer.async_wait(asio::use_awaitable);
  }
  impl->running = true;
  impl->last_state.clear();
}

bool GuestVm::alive() const noexcept { return impl_->child && !impl_->ended; }
bool GuestVm::running() const noexcept { return impl_->running; }

Task<void> GuestVm::save(std::string state_file, std::string memory_file, json config) {
  auto impl = impl_;
  if (!impl->last_state.empty()) {
    for (auto& [from, to] :
         {std::pair(impl->last_state, state_file), std::pair(impl->last_memory, memory_file)}) {
      if (from == to) continue;
      base::Fd file(base::check(::open(from.c_str(), O_RDONLY | O_CLOEXEC), "opening " + from));
      copy_sparse(file.get(), to);
    }
    co_return;
  }
  base::Fd state(
      base::check(::open(state_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
                  "opening '" + state_file + "'"));
  bool memory_apart = impl->shared_memory != nullptr;
  json head = {{"attest-sim", 1},
               {"memory_file", memory_apart},
               {"memory_mb", impl->description.memory_mb},
               {"kernel", impl->kernel},
               {"config", std::move(config)}};
  std::string line = head.dump() + "\n";
  if (::write(state.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw base::sys_error("writing '" + state_file + "'");
  co_await Impl::set_capabilities(impl, memory_apart);
  impl->migration.clear();
  impl->pass("state", state.get());
  json name = {{"fdname", "state"}};
  co_await Impl::command(impl, "getfd", name);
  json uri = {{"uri", "fd:state"}};
  co_await Impl::command(impl, "migrate", uri);
  co_await Impl::migrated(impl, "saving the state");
  if (memory_apart) {
    copy_sparse(impl->shared_memory->get(), memory_file);
  } else {
    base::Fd hole(
        base::check(::open(memory_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
                    "opening '" + memory_file + "'"));
    base::check(::ftruncate(hole.get(), static_cast<off_t>(impl->description.memory_mb) << 20),
                "sizing '" + memory_file + "'");
  }
  impl->last_state = state_file;
  impl->last_memory = memory_file;
}

Task<void> GuestVm::quit() {
  auto impl = impl_;
  impl->leaving = true;
  if (impl->ended || !impl->qmp) co_return;
  try {
    co_await Impl::command(impl, "quit", json());
  } catch (const Error&) {
    // It may end before its answer is read.
  }
  co_await impl->child->wait();
}

base::Fd GuestVm::take_serial() { return std::move(impl_->wiring.serial); }

base::Fd GuestVm::connect_channel(const std::string& chardev) {
  auto found = impl_->wiring.channels.find(chardev);
  if (found == impl_->wiring.channels.end())
    throw Error(Error::Kind::usage, "there is no channel '" + chardev + "'");
  base::Fd fd = try_connect(found->second);
  if (!fd) throw base::sys_error("connecting to QEMU's channel '" + chardev + "'");
  return fd;
}

Task<json> GuestVm::command(std::string name, json arguments) {
  auto impl = impl_;
  co_return co_await Impl::command(impl, std::move(name), std::move(arguments));
}

GuestDescription& GuestVm::mutable_description() noexcept { return impl_->description; }
int& GuestVm::drive_changes() noexcept { return impl_->drive_changes; }
const GuestDescription& GuestVm::description() const noexcept { return impl_->description; }
std::string GuestVm::last_words() const {
  return impl_->ending + (impl_->words.empty() ? "" : ": " + impl_->words);
}
int GuestVm::pid() const noexcept { return impl_->child ? impl_->child->pid() : -1; }

}  // namespace attest::sims
