#include "lib/guest/agent_guest.h"

#include "lib/base/text.h"
#include "lib/guest/agent_process.h"
#include "lib/guest/poll.h"
#include "lib/guest/span.h"
#include "lib/guest/units.h"
#include "lib/guest/words.h"
#include "lib/proto/shell.h"

#include <chrono>
#include <utility>

namespace attest::guest {
namespace {

using namespace std::chrono_literals;
using Kind = Error::Kind;
using proto::AgentFields;

constexpr auto cancel_patience = 5s;  // 2 s of them are a command's own, from SIGTERM to SIGKILL
constexpr auto ping_patience = 2s;

int code_of(const AgentFields& done) {
  if (auto code = done.number("code")) return static_cast<int>(*code);
  if (auto signal = done.number("signal")) return 128 + static_cast<int>(*signal);
  throw Error(Kind::protocol, "attest-agent did not say how the command ended");
}

// Shared with the coroutine that feeds a command's stdin while its output is read.
Task<void> feed(std::shared_ptr<proto::AgentStream> stream, std::string input) {
  co_await stream->write(input);
  stream->end();
}

// Gives the stream up when the coroutine that waits for it unwinds, though feed() still holds it.
struct Owned {
  std::shared_ptr<proto::AgentStream> stream;
  explicit Owned(std::unique_ptr<proto::AgentStream> one) : stream(std::move(one)) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { stream->abandon(); }
};

struct WaitFields {
  AgentFields operator()(const UnitActive& it) const {
    AgentFields fields{{"op", "wait"}, {"for", "unit"}, {"unit", it.unit}};
    if (!it.user.empty()) fields.add("user", it.user);
    return fields;
  }
  AgentFields operator()(const PortOpen& it) const {
    AgentFields fields{{"op", "wait"}, {"for", "port"}, {"address", it.address}};
    fields.add("port", it.port);
    if (it.udp) fields.add("udp", 1);
    if (it.closed) fields.add("closed", 1);
    return fields;
  }
  AgentFields operator()(const FileExists& it) const {
    return {{"op", "wait"}, {"for", "file"}, {"path", it.path}};
  }
  AgentFields operator()(const SocketAccepts& it) const {
    AgentFields fields{{"op", "wait"}, {"for", "socket"}, {"path", it.path}};
    if (it.datagram) fields.add("datagram", 1);
    return fields;
  }
};

}  // namespace

AgentFields run_fields(const Command& command) {
  check(command);
  AgentFields fields{{"op", "run"}};
  if (command.argv.empty()) {
    fields.add("shell", command.shell);
    fields.add("strict", command.strict ? 1 : 0);
  }
  for (auto& word : command.argv) fields.add("argv", word);
  for (auto& [name, value] : command.env) fields.add("env", name + "=" + value);
  if (!command.cwd.empty()) fields.add("cwd", command.cwd);
  if (!command.user.empty()) fields.add("user", command.user);
  if (command.input) fields.add("stdin", 1);
  return fields;
}

Task<std::string> give_up(proto::Agent& agent, proto::AgentStream& stream, TakeNews take) {
  stream.cancel();
  const auto patience = Deadline::after(cancel_patience);
  for (;;) {
    std::optional<proto::AgentNews> news;
    try {
      news = co_await stream.next(patience);
    } catch (const Error& error) {
      if (error.kind() == Kind::host) throw;
      co_return "";  // ended, though not as a success
    }
    if (!news) break;
    if (std::holds_alternative<proto::AgentDone>(*news)) co_return "";
    if (take) take(*news);
  }
  const bool answers = co_await agent.answers(Deadline::after(ping_patience));
  co_return answers ? "attest-agent could not end it" : "attest-agent does not answer";
}

Task<AgentFields> finish(proto::Agent& agent, proto::AgentStream& stream, std::string what,
                         Deadline deadline, TakeNews take) {
  const auto span = span_words(deadline);
  for (;;) {
    auto news = co_await stream.next(deadline);
    if (!news) break;
    if (auto* done = std::get_if<proto::AgentDone>(&*news)) co_return std::move(done->fields);
    if (take) take(*news);
  }
  auto trouble = co_await give_up(agent, stream, take);
  Error error(Kind::timeout, what + " did not end within " + span);
  if (!trouble.empty())
    error.during("ending it: " + trouble)
        .hint("the machine may hang or be starved of CPU; see its console log");
  throw error;
}

Task<CommandResult> AgentGuest::run(Command command, Deadline deadline) {
  const auto agent = agent_;  // outlives this guest while the coroutine unwinds
  const auto begun = std::chrono::steady_clock::now();
  const auto span = span_words(deadline);
  Owned owned(agent->open(run_fields(command)));
  if (command.input)  // its failures are those that next() below throws, too
    asio::co_spawn(co_await asio::this_coro::executor,
                   feed(owned.stream, *std::exchange(command.input, std::nullopt)),
                   [](std::exception_ptr) {});
  CommandResult result;
  bool too_loud = false;
  auto take = [&](proto::AgentNews& news) {
    auto* data = std::get_if<proto::AgentData>(&news);
    if (!data || too_loud) return;
    auto& to = data->channel == proto::agent_error_output ? result.error_output : result.output;
    to += data->bytes;
    too_loud = result.output.size() + result.error_output.size() > proto::shell_output_limit;
  };
  std::optional<AgentFields> done;
  try {
    while (!done && !too_loud) {
      auto news = co_await owned.stream->next(deadline);
      if (!news) break;
      if (auto* last = std::get_if<proto::AgentDone>(&*news))
        done = std::move(last->fields);
      else
        take(*news);
    }
  } catch (Error& error) {
    error.during("running " + words(command));
    throw;
  }
  if (too_loud) throw command_too_loud(command);
  if (!done) {
    TakeNews rest = take;
    auto trouble = co_await give_up(*agent, *owned.stream, rest);
    auto error = command_late(command, span, result.output, result.error_output);
    if (!trouble.empty())
      error.during("ending it: " + trouble)
          .hint("the machine may hang or be starved of CPU; see its console log");
    throw error;
  }
  result.exit_code = code_of(*done);
  result.duration = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begun);
  co_return result;
}

Task<void> AgentGuest::wait_for(Condition condition, Deadline deadline) {
  check(condition);
  const auto agent = agent_;
  const auto begun = Deadline::Clock::now();
  const auto span = span_words(deadline);
  const auto wanted = goal(condition);
  auto stream = agent->open(std::visit(WaitFields{}, condition));
  std::string state = "unknown";
  bool probe = false;
  try {
    for (;;) {
      auto news = co_await stream->next(deadline);
      if (!news) break;
      if (std::holds_alternative<proto::AgentDone>(*news)) co_return;
      if (auto* event = std::get_if<proto::AgentEvent>(&*news))
        if (event->fields.has("state")) state = base::printable(event->fields.get("state"));
    }
  } catch (Error& error) {
    std::string text = error.what();
    if (error.kind() == Kind::guest && stream->refused())
      throw Error(Kind::guest, text)
          .during("waiting for " + wanted + ", after " +
                  base::human(Deadline::Clock::now() - begun));
    probe = error.kind() == Kind::unsupported && std::holds_alternative<UnitActive>(condition);
    if (!probe && error.kind() == Kind::unsupported)
      throw Error(Kind::unsupported, "cannot wait for " + wanted + ": " + text);
    if (!probe) {
      error.during("waiting for " + wanted);
      throw;
    }
  }
  if (probe) {
    // Where the agent cannot reach systemd (a user's own one behind a wall), systemctl may.
    auto unit = std::get<UnitActive>(condition);
    std::string text = unit_probe(unit.unit, unit.user);
    co_await guest::wait_for(*this, wanted, text, deadline);
    co_return;
  }
  auto trouble = co_await give_up(*agent, *stream);
  Error error(Kind::timeout, "waited " + span + " for " + wanted + "; last state: " + state);
  if (!trouble.empty()) error.during("ending the wait: " + trouble);
  throw error;
}

Task<std::unique_ptr<Process>> AgentGuest::spawn(Command command, Deadline deadline) {
  return spawn_over(agent_, std::move(command), deadline);
}

Task<void> AgentGuest::set_clock(std::chrono::system_clock::time_point now, Deadline deadline) {
  const auto agent = agent_;
  AgentFields fields{{"op", "clock"}};
  fields.add("set_ns",
             std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count());
  auto stream = agent->open(fields);
  co_await finish(*agent, *stream, "setting the guest's clock", deadline);
}

Task<void> AgentGuest::reseed(std::string bytes, Deadline deadline) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto agent = agent_;
  std::string hex;
  for (const unsigned char byte : bytes) hex.append({digits[byte >> 4], digits[byte & 15]});
  AgentFields fields{{"op", "reseed"}};
  fields.add("hex", hex);
  auto stream = agent->open(fields);
  co_await finish(*agent, *stream, "reseeding the guest's random numbers", deadline);
}

Task<void> AgentGuest::power(Power wish, Deadline deadline) {
  const auto agent = agent_;
  AgentFields fields{{"op", "power"}, {"action", wish == Power::off ? "poweroff" : "reboot"}};
  auto stream = agent->open(fields);
  co_await finish(*agent, *stream, "asking the guest to go down", deadline);
}

Task<void> AgentGuest::wait_restarted(Deadline deadline) {
  const auto agent = agent_;
  co_await agent->wait_restarted(seen_restarts_, deadline);
  seen_restarts_ = agent->restarts();
}

}  // namespace attest::guest
