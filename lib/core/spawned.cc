#include "lib/core/spawned.h"

#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/core/failure.h"

#include <utility>

namespace attest::core {
namespace {

constexpr std::size_t room_for_output = 1 << 20;          // then the command waits for its reader
constexpr std::size_t most_kept = std::size_t{64} << 20;  // for wait(), and of stderr always

Task<void> end_of(Spawned& spawned) {
  co_await Spawned::wait_ended(spawned.signals);
  throw Error(Error::Kind::guest,
              "command `" + spawned.label + "` has ended and reads nothing more");
}

Task<void> change_of(std::shared_ptr<Spawned::Signals> signals) {
  if (signals) co_await signals->changed.next();
}

Task<void> drop_of(std::shared_ptr<Spawned> spawned) {
  auto signals = spawned->signals;
  co_await signals->dropped.wait();
  throw Error(Error::Kind::usage, "the handle of `" + spawned->label + "` was dropped");
}

Task<void> read_all(std::shared_ptr<Spawned> spawned) {
  for (;;) {
    while (spawned->full()) co_await change_of(spawned->signals);
    auto chunk = co_await spawned->process->read();
    if (!chunk) co_return;
    spawned->take(std::move(*chunk));
  }
}

}  // namespace

Task<void> Spawned::wait_ended(std::shared_ptr<Signals> signals) {
  if (signals) co_await signals->ended.wait();
}

void Spawned::pulse() {
  if (signals) signals->changed.pulse();
}

bool Spawned::full() const { return waiting == 0 && output.size() - taken >= room_for_output; }

void Spawned::take(guest::Process::Chunk chunk) {
  if (taken > room_for_output)
    output.erase(0, std::exchange(taken, 0));  // seldom: it moves the rest
  auto& store = chunk.error_output ? error_output : output;
  store += chunk.bytes;
  if (store.size() > most_kept + room_for_output) {
    store.erase(0, store.size() - most_kept);
    if (!chunk.error_output) taken = 0;
  }
  pulse();
}

std::string Spawned::take_rest() {
  auto rest = std::exchange(output, {}).substr(taken);
  taken = 0;
  return rest;
}

Task<void> pump(std::shared_ptr<Spawned> spawned, Deadline limit) {
  try {
    auto reading = async::unless(drop_of(spawned), read_all(spawned));
    auto living = async::unless(Running::doom(spawned->run), std::move(reading));
    co_await async::within(limit, "running `" + spawned->label + "`", std::move(living));
    spawned->exit_code = spawned->process->exit_code();
  } catch (...) {
    spawned->failure = error_of(std::current_exception());
  }
  // The stream may end a moment before the machine's end is known.
  bool lost = spawned->failure && spawned->failure->kind() == Error::Kind::host;
  if (lost && spawned->run->doomed.is_set()) spawned->failure = spawned->run->obituary();
  spawned->duration = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - spawned->started);
  spawned->process.reset();
  spawned->run.reset();
  spawned->running = false;
  auto signals = std::exchange(spawned->signals, nullptr);
  signals->ended.set();
  signals->changed.pulse();
}

Task<std::optional<std::string>> Spawned::read_line(Deadline deadline) {
  for (;;) {
    auto end = output.find('\n', taken);
    if (end != std::string::npos) {
      std::string line = output.substr(taken, end - taken);
      taken = end + 1;
      pulse();
      co_return line;
    }
    if (full()) {  // a line that long comes in pieces
      auto piece = take_rest();
      pulse();
      co_return piece;
    }
    if (!signals) {
      if (output.size() > taken) co_return take_rest();
      if (failure) throw *failure;
      co_return std::nullopt;
    }
    co_await async::within(deadline, "waiting for a line of `" + label + "`", change_of(signals));
  }
}

Task<CommandResult> Spawned::wait(Deadline deadline) {
  struct Count {
    int& count;
    explicit Count(int& count_) : count(count_) { ++count; }
    ~Count() { --count; }
  } counted(waiting);
  pulse();
  if (signals)
    co_await async::within(deadline, "waiting for the end of `" + label + "`", wait_ended(signals));
  if (failure) {
    Error error = *failure;
    error.attach("stdout, last lines",
                 base::last_lines(std::string_view(output).substr(taken), 30));
    error.attach("stderr, last lines", base::last_lines(error_output, 30));
    throw error;
  }
  co_return CommandResult{.exit_code = exit_code,
                          .output = take_rest(),
                          .error_output = std::exchange(error_output, {}),
                          .duration = duration};
}

Task<void> Spawned::write(std::string bytes) {
  auto kept_run = run;
  auto kept = process;
  if (!kept) co_await end_of(*this);
  co_await async::unless(end_of(*this), kept->write(std::move(bytes)));
}

Task<void> Spawned::close_input() {
  auto kept_run = run;
  auto kept = process;
  if (kept) co_await kept->close_input();
}

Task<void> Spawned::signal(int number) {
  auto kept_run = run;
  auto kept = process;
  if (kept) co_await kept->signal(number);
}

Task<void> Spawned::drop(bool detach) {
  if (detach) detached = true;
  if (detach && process) process->detach();
  auto kept = signals;
  if (!kept) co_return;
  kept->dropped.set();
  co_await wait_ended(kept);
}

}  // namespace attest::core
