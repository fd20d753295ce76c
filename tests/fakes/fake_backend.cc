#include "tests/fakes/fake_backend.h"

#include "backends/loopback/loopback.h"
#include "lib/async/child.h"
#include "lib/async/event.h"
#include "lib/async/fd_stream.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"

#include <fcntl.h>
#include <boost/asio/post.hpp>

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>

namespace attest::fakes {
namespace {
class FakeBackend;
}

struct FakeBackends::State {
  std::mutex mutex;
  std::condition_variable booted;
  std::map<std::string, Behaviour> behaviours;
  std::map<std::string, int> boots;
  std::map<std::string, FakeBackend*> live;
  std::map<std::string, std::vector<std::string>> links;
  std::map<std::string, std::vector<std::filesystem::path>> restored;
};

namespace {

using namespace std::chrono_literals;

class FakeBackend final : public Backend, public LinkControl, public Snapshotter {
 public:
  FakeBackend(BackendContext context, std::shared_ptr<FakeBackends::State> state)
      : context_(std::move(context)),
        state_(std::move(state)),
        never_(context_.loop),
        go_on_(context_.loop) {
    std::lock_guard hold(state_->mutex);
    state_->live[context_.machine] = this;
  }
  ~FakeBackend() override {
    std::lock_guard hold(state_->mutex);
    state_->live.erase(context_.machine);
  }

  std::string_view name() const override { return "fake"; }
  PowerControl power_control() const override { return PowerControl::backend; }

  Task<std::unique_ptr<Stream>> boot(Deadline) override {
    kill();
    go_on_.reset();
    {
      std::lock_guard hold(state_->mutex);
      behaviour_ = state_->behaviours[context_.machine];
      ++state_->boots[context_.machine];
      state_->booted.notify_all();
    }
    if (behaviour_.boot_error) throw *behaviour_.boot_error;
    if (behaviour_.boot_hangs) co_await never_.wait();
    if (behaviour_.boot_waits) co_await go_on_.wait();
    end_.reset();
    auto [stream, spec] = shell();
    if (behaviour_.has_snapshots) {
      // It lives on when its connection ends, which a shell does not.
      later_shells_.push_back(std::make_unique<async::Child>(context_.loop, std::move(spec)));
      spec = {};
      spec.argv = {"sleep", "infinity"};
    }
    child_.emplace(context_.loop, std::move(spec));
    co_return std::move(stream);
  }

  Task<void> shutdown(Deadline) override {
    if (behaviour_.shutdown_hangs) co_await never_.wait();
    end({.orderly = true, .cause = "it powered off"});
    co_await child_->wait();
  }

  void kill() noexcept override {
    if (child_) child_->kill();
    later_shells_.clear();
  }

  Task<Gone> wait_gone(Deadline) override {
    auto status = co_await child_->wait();
    co_return end_.value_or(Gone{.orderly = false, .cause = "its process " + status.words()});
  }

  LinkControl* link_control() override { return behaviour_.has_links ? this : nullptr; }
  Task<void> set_link(int vlan, bool plugged, Deadline) override {
    std::lock_guard hold(state_->mutex);
    state_->links[context_.machine].push_back((plugged ? "+" : "-") + std::to_string(vlan));
    co_return;
  }

  Snapshotter* snapshotter() override {
    std::lock_guard hold(state_->mutex);
    behaviour_ = state_->behaviours[context_.machine];
    return behaviour_.has_snapshots ? this : nullptr;
  }
  SnapshotFacts facts() override { return behaviour_.facts; }
  Task<std::unique_ptr<Stream>> save(std::filesystem::path dir, Deadline) override {
    base::write_file(dir / "memory", "what it remembers");
    if (behaviour_.save_hangs) co_await never_.wait();
    if (behaviour_.save_error) throw *behaviour_.save_error;
    if (behaviour_.keeps_stream) co_return nullptr;
    auto [stream, spec] = shell();
    if (behaviour_.deaf_after_save) spec.argv = {"sleep", "infinity"};
    later_shells_.push_back(std::make_unique<async::Child>(context_.loop, std::move(spec)));
    co_return std::move(stream);
  }
  Task<std::unique_ptr<Stream>> restore(std::filesystem::path dir, Deadline deadline) override {
    base::read_file(dir / "memory");
    {
      std::lock_guard hold(state_->mutex);
      state_->restored[context_.machine].push_back(dir);
    }
    co_return co_await boot(deadline);
  }
  RestoreSpans restore_spans() const override {
    return {.start = 1ms, .load = 2ms, .resume = 3ms, .how = "by heart"};
  }

  void end(Gone how) {
    end_ = std::move(how);
    child_->kill();
  }
  void print(const std::string& text) { context_.console(text); }
  void let_boot() { go_on_.set(); }
  const BackendContext& context() const { return context_; }
  asio::any_io_executor loop() const { return context_.loop; }

 private:
  std::pair<std::unique_ptr<Stream>, async::ChildSpec> shell() {
    auto [ours, theirs] = base::stream_pair();
    async::ChildSpec spec;
    spec.argv = behaviour_.guest.empty() ? loopback::shell_command_line("bash")
                                         : std::vector<std::string>{"sh", "-c", behaviour_.guest};
    spec.fds.emplace(0, base::Fd(base::check(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 0),
                                             "duplicating a socket")));
    spec.fds.emplace(1, std::move(theirs));
    return {async::make_stream(context_.loop, std::move(ours)), std::move(spec)};
  }

  BackendContext context_;
  std::shared_ptr<FakeBackends::State> state_;
  Behaviour behaviour_;
  async::Event never_, go_on_;
  std::optional<async::Child> child_;
  std::vector<std::unique_ptr<async::Child>> later_shells_;  ///< of connections made anew
  std::optional<Gone> end_;
};

// Runs `what` with the machine's backend on its loop, and waits for that.
void reach(FakeBackends::State& state, const std::string& machine,
           const std::function<void(FakeBackend&)>& what) {
  std::promise<void> done;
  {
    std::lock_guard hold(state.mutex);
    auto backend = state.live.find(machine);
    if (backend == state.live.end())
      throw Error(Error::Kind::usage, "machine '" + machine + "' has no backend yet");
    asio::post(backend->second->loop(), [&what, &done, found = backend->second] {
      what(*found);
      done.set_value();
    });
  }
  done.get_future().get();
}

}  // namespace

FakeBackends::FakeBackends() : state_(std::make_shared<State>()) {}
FakeBackends::~FakeBackends() = default;

Backends FakeBackends::backends() {
  BackendEntry entry;
  entry.make = [state = state_](BackendContext context) {
    return std::make_unique<FakeBackend>(std::move(context), state);
  };
  return {{"fake", std::move(entry)}};
}

void FakeBackends::behave(const std::string& machine, Behaviour behaviour) {
  std::lock_guard hold(state_->mutex);
  state_->behaviours[machine] = std::move(behaviour);
}

bool FakeBackends::wait_for_boots(const std::string& machine, int times) {
  std::unique_lock hold(state_->mutex);
  return state_->booted.wait_for(hold, 10s, [&] { return state_->boots[machine] >= times; });
}

int FakeBackends::boots(const std::string& machine) {
  std::lock_guard hold(state_->mutex);
  return state_->boots[machine];
}

std::vector<std::string> FakeBackends::links(const std::string& machine) {
  std::lock_guard hold(state_->mutex);
  return state_->links[machine];
}

std::vector<std::filesystem::path> FakeBackends::restored(const std::string& machine) {
  std::lock_guard hold(state_->mutex);
  return state_->restored[machine];
}

const BackendContext& FakeBackends::context(const std::string& machine) {
  const BackendContext* found = nullptr;
  reach(*state_, machine, [&](FakeBackend& backend) { found = &backend.context(); });
  return *found;
}
void FakeBackends::let_boot(const std::string& machine) {
  reach(*state_, machine, [](FakeBackend& backend) { backend.let_boot(); });
}
void FakeBackends::print(const std::string& machine, const std::string& text) {
  reach(*state_, machine, [&](FakeBackend& backend) { backend.print(text); });
}
void FakeBackends::end(const std::string& machine, Gone end) {
  reach(*state_, machine, [&](FakeBackend& backend) { backend.end(end); });
}

}  // namespace attest::fakes
