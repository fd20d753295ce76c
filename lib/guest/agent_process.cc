#include "lib/guest/agent_process.h"

#include "lib/async/event.h"
#include "lib/guest/agent_guest.h"
#include "lib/guest/span.h"
#include "lib/guest/words.h"

#include <utility>

namespace attest::guest {
namespace {

using Kind = Error::Kind;

// What a command prints after nobody wants it any more.
Task<void> throw_away(std::shared_ptr<proto::AgentStream> stream) {
  for (;;) {
    auto news = co_await stream->next();
    if (!news || std::holds_alternative<proto::AgentDone>(*news)) co_return;
  }
}

// Holds the lock, so that what is written later comes later.
Task<void> feed(std::shared_ptr<proto::AgentStream> stream, std::shared_ptr<async::Mutex> writing,
                std::string input) {
  auto lock = co_await writing->lock();
  co_await stream->write(input);
}

class AgentProcess final : public Process {
 public:
  AgentProcess(std::shared_ptr<proto::Agent> agent, std::shared_ptr<proto::AgentStream> stream,
               std::shared_ptr<async::Mutex> writing, asio::any_io_executor loop, std::string name)
      : agent_(std::move(agent)),
        stream_(std::move(stream)),
        writing_(std::move(writing)),
        loop_(std::move(loop)),
        name_(std::move(name)) {}
  ~AgentProcess() override {
    if (!detached_) stream_->abandon();
  }

  Task<std::optional<Chunk>> read() override {
    const auto stream = stream_;
    const auto name = name_;
    while (!done_) {
      std::optional<proto::AgentNews> news;
      try {
        news = co_await stream->next();
      } catch (Error& error) {
        error.during("reading what " + name + " prints");
        throw;
      }
      if (auto* data = std::get_if<proto::AgentData>(&*news)) {
        Chunk chunk{data->channel == proto::agent_error_output, std::move(data->bytes)};
        co_return std::optional<Chunk>(std::move(chunk));
      }
      if (auto* last = std::get_if<proto::AgentDone>(&*news)) {
        auto code = last->fields.number("code"), signal = last->fields.number("signal");
        if (!code && !signal)
          throw Error(Kind::protocol, "attest-agent did not say how " + name + " ended");
        code_ = static_cast<int>(code ? *code : 128 + *signal);
        done_ = true;
      }
    }
    co_return std::nullopt;
  }

  Task<void> write(std::string bytes) override {
    const auto stream = stream_;
    const auto writing = writing_;
    const auto name = name_;
    if (input_closed_) throw Error(Kind::usage, "the stdin of " + name + " was closed before");
    try {
      auto lock = co_await writing->lock();
      co_await stream->write(bytes);
    } catch (Error& error) {
      error.during("writing to " + name);
      throw;
    }
  }

  Task<void> close_input() override {
    const auto stream = stream_;
    const auto writing = writing_;
    if (std::exchange(input_closed_, true)) co_return;
    auto lock = co_await writing->lock();
    stream->end();
  }

  Task<void> signal(int number) override {
    proto::AgentFields fields;
    fields.add("signal", number);
    stream_->event(fields);
    co_return;
  }

  int exit_code() const override { return code_; }

  void detach() noexcept override {
    if (std::exchange(detached_, true)) return;
    try {
      // It goes on until its end or the connection's, with its output thrown away.
      auto keep = [agent = agent_](std::exception_ptr) {};
      asio::co_spawn(loop_, throw_away(stream_), keep);
    } catch (...) {  // out of memory: its window fills, and it blocks
    }
  }

 private:
  std::shared_ptr<proto::Agent> agent_;
  std::shared_ptr<proto::AgentStream> stream_;
  std::shared_ptr<async::Mutex> writing_;
  asio::any_io_executor loop_;
  std::string name_;
  int code_ = 0;
  bool done_ = false, input_closed_ = false, detached_ = false;
};

}  // namespace

Task<std::unique_ptr<Process>> spawn_over(std::shared_ptr<proto::Agent> agent, Command command,
                                          Deadline deadline) {
  const auto name = words(command);
  const auto span = span_words(deadline);
  auto input = command.input.value_or("");
  if (!command.input) command.input = "";  // more may be written to it
  std::shared_ptr<proto::AgentStream> stream = agent->open(run_fields(command));
  auto loop = co_await asio::this_coro::executor;
  auto writing = std::make_shared<async::Mutex>(loop);
  auto process = std::make_unique<AgentProcess>(agent, stream, writing, loop, name);
  try {
    // It says its pid first, or why it cannot run.
    auto news = co_await stream->next(deadline);
    if (!news) throw Error(Kind::timeout, "attest-agent did not start the command within " + span);
    if (!std::holds_alternative<proto::AgentEvent>(*news))
      throw Error(Kind::protocol, "attest-agent did not say that the command runs");
  } catch (Error& error) {
    error.during("starting " + name);
    throw;
  }
  if (!input.empty())
    asio::co_spawn(loop, feed(stream, writing, std::move(input)), [](std::exception_ptr) {});
  co_return std::unique_ptr<Process>(std::move(process));
}

}  // namespace attest::guest
