#include "lib/entry/outside.h"

#include "lib/async/event.h"
#include "lib/async/within.h"
#include "lib/base/fd.h"
#include "lib/base/sys_error.h"
#include "lib/sandbox/doorman.h"

#include <boost/asio/post.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>

namespace attest::entry {
namespace {

using base::Fd;
using std::chrono::milliseconds;

// What the thread and the coroutine share. The event is the coroutine's: null once that is over,
// so that the thread, however late, touches no loop that may be gone.
struct Call {
  std::mutex mutex;
  async::Event* answered = nullptr;
  Fd socket;
  std::exception_ptr failure;
  bool over = false;  // the thread has nothing left to do
};

// Of the waiting coroutine; its destructor is what a cancelled call leaves behind.
class Waiting {
 public:
  Waiting(std::shared_ptr<Call> call, asio::any_io_executor loop)
      : call_(std::move(call)), answered_(loop) {
    call_->answered = &answered_;
  }
  Waiting(const Waiting&) = delete;
  ~Waiting() {
    std::lock_guard lock(call_->mutex);
    call_->answered = nullptr;
  }
  Task<void> wait() { return answered_.wait(); }

 private:
  std::shared_ptr<Call> call_;
  async::Event answered_;
};

void answer(const std::shared_ptr<Call>& call, asio::any_io_executor& loop,
            const std::function<Fd()>& work) {
  Fd socket;
  std::exception_ptr failure;
  try {
    socket = work();
  } catch (...) {
    failure = std::current_exception();
  }
  std::lock_guard lock(call->mutex);
  call->over = true;
  if (!call->answered) return;  // nobody takes it any more: it is closed here
  call->socket = std::move(socket);
  call->failure = failure;
  // Under the lock: as long as there is an event, there is a loop.
  asio::post(loop, [call] {
    std::lock_guard posted(call->mutex);
    if (call->answered) call->answered->set();
  });
}

Outside::Listener make_listener(asio::any_io_executor loop, Fd socket) {
  int flags = base::check(::fcntl(socket.get(), F_GETFL), "looking at a socket from outside");
  base::check(::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK), "changing a socket from outside");
  return std::make_unique<asio::posix::stream_descriptor>(loop, socket.release());
}

Outside::Socket make_socket(asio::any_io_executor loop, Fd socket) {
  using Protocol = asio::generic::stream_protocol;
  int family = AF_UNIX;
  socklen_t size = sizeof family;
  base::check(::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size),
              "looking at a socket from outside");
  Protocol protocol(family, family == AF_UNIX ? 0 : IPPROTO_TCP);
  auto made = std::make_unique<Protocol::socket>(loop);
  made->assign(protocol, socket.get());
  (void)socket.release();
  made->non_blocking(true);
  return made;
}

// The doorman's own message for what takes too long says more than ours, so it gets a little less.
milliseconds reserve(Deadline deadline) {
  auto left = std::chrono::duration_cast<milliseconds>(deadline.left());
  return std::min(left / 10, milliseconds(200));
}

class DoormanOutside : public Outside {
 public:
  explicit DoormanOutside(std::shared_ptr<sandbox::Doorman> doorman)
      : doorman_(std::move(doorman)) {}

  Task<Socket> connect(std::string host, int port, Deadline deadline) override {
    std::string step = "connecting from the host to '" + host + "' port " + std::to_string(port);
    auto limit = std::chrono::duration_cast<milliseconds>(deadline.left()) - reserve(deadline);
    return connected(step, deadline,
                     [this, host, port, limit] { return doorman_->dial(host, port, limit); });
  }
  Task<std::pair<Listener, int>> listen(std::string address, int port, Deadline deadline) override {
    std::string step = "listening on the host's " + address + " port " + std::to_string(port);
    auto loop = co_await asio::this_coro::executor;
    auto chosen = std::make_shared<int>(0);  // the thread may end after us
    std::function<Fd()> work = [doorman = doorman_, address, port, chosen] {
      auto [socket, number] = doorman->listen(address, port);
      *chosen = number;
      return std::move(socket);
    };
    auto socket = co_await ask(step, deadline, std::move(work));
    auto listener = make_listener(loop, std::move(socket));
    co_return std::pair(std::move(listener), *chosen);
  }
  Task<Socket> ssh_agent(Deadline deadline) override {
    return connected("connecting to the ssh-agent", deadline,
                     [this] { return doorman_->ssh_agent(); });
  }
  Task<Socket> run(std::string command, Deadline deadline) override {
    return connected("starting a command on the host", deadline,
                     [this, command] { return doorman_->run(command); });
  }
  Task<Socket> sweep_cgroup(std::string directory, Deadline deadline) override {
    return connected("having the cgroup '" + directory + "' swept", deadline,
                     [this, directory] { return doorman_->sweep_cgroup(directory); });
  }

 private:
  struct Worker {
    std::shared_ptr<Call> call;
    std::jthread thread;
  };

  Task<Socket> connected(std::string step, Deadline deadline, std::function<Fd()> work) {
    auto loop = co_await asio::this_coro::executor;
    auto socket = co_await ask(std::move(step), deadline, std::move(work));
    co_return make_socket(loop, std::move(socket));
  }

  Task<Fd> ask(std::string step, Deadline deadline, std::function<Fd()> work) {
    if (deadline.passed()) throw Error(Error::Kind::timeout, "deadline passed").during(step);
    auto loop = co_await asio::this_coro::executor;
    auto late = reserve(deadline);
    auto call = std::make_shared<Call>();
    Waiting waiting(call, loop);
    start(call, loop, std::move(work));
    co_await async::within(deadline, step, waiting.wait());
    std::lock_guard lock(call->mutex);
    try {
      if (call->failure) std::rethrow_exception(call->failure);
    } catch (const Error& e) {
      if (e.kind() != Error::Kind::host || deadline.left() > late) throw;
      throw Error(Error::Kind::timeout, e.what());
    }
    co_return std::move(call->socket);
  }

  void start(std::shared_ptr<Call> call, asio::any_io_executor loop, std::function<Fd()> work) {
    std::lock_guard lock(mutex_);
    workers_.remove_if([](const Worker& worker) {
      std::lock_guard looking(worker.call->mutex);
      return worker.call->over;
    });
    try {
      workers_.push_back(
          {call, std::jthread([call, loop, work]() mutable { answer(call, loop, work); })});
    } catch (const std::system_error& e) {
      throw base::sys_error("starting a thread to ask the host", e.code().value());
    }
  }

  std::shared_ptr<sandbox::Doorman> doorman_;
  std::mutex mutex_;  // drivers have a loop each
  std::list<Worker> workers_;
};

}  // namespace

std::shared_ptr<Outside> make_outside(std::shared_ptr<sandbox::Doorman> doorman) {
  return std::make_shared<DoormanOutside>(std::move(doorman));
}

}  // namespace attest::entry
