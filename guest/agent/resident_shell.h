// A bash that stays, has read /etc/profile, and forks executors ahead of need: subshells that wait
// for one text each, run it and end. A command costs no fork and no exec before its first line.
// Where there is no bash, or it does not stay, texts need a shell of their own.
#pragma once
#include <sys/stat.h>
#include <sys/types.h>

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guest/agent/fd.h"
#include "guest/agent/loop.h"

namespace attest::agent {

/// A subshell that has been given its text: the agent's child, the leader of its process group.
struct Executor {
  pid_t pid = -1;
  Fd in, out, err;  ///< the agent's ends of its pipes, non-blocking
};

class ResidentShell {
 public:
  /// Starts it.
  explicit ResidentShell(Loop& loop);
  ResidentShell(const ResidentShell&) = delete;
  ResidentShell& operator=(const ResidentShell&) = delete;
  ~ResidentShell();

  /// Calls once, inside or after this call, when the two functions below have their answers;
  /// never if `owner` has expired by then.
  void when_ready(std::weak_ptr<void> owner, std::function<void()> callback);
  /// The exported variables after /etc/profile, as NAME=value.
  const std::vector<std::string>& environment() const { return environment_; }
  /// "bash" by its path, or "/bin/sh" where there is no bash.
  const std::string& shell() const { return shell_; }
  bool is_bash() const { return shell_ != "/bin/sh"; }

  /// What an executor is to run.
  struct Text {
    std::string_view text;         ///< without a NUL
    std::vector<std::string> env;  ///< NAME=value; the names are what shell_name() says
    bool with_input = false;       ///< what is written to `in` is its stdin, else that is /dev/null
  };
  /// Gives `text` to the next executor. nullptr if there will be none: start a shell instead. As
  /// for the callback, see when_ready().
  using Taker = std::function<void(Executor*)>;
  void run(std::weak_ptr<void> owner, const Text& text, Taker taker);

 private:
  struct Seat;
  struct Waiting;

  void start();
  bool start_with(const std::vector<std::string>& argv, std::string_view program);
  void take_report();
  void take_environment();
  void batches_done(ssize_t count);
  void become_ready();
  void ended();
  void give_up();
  void refill();
  bool order(std::size_t count);
  std::unique_ptr<Seat> make_seat();
  void seat_there(Seat& seat);
  void take_ready();
  void serve();
  bool hand_over(Seat& seat, Waiting& waiting);
  void shrink();
  void drop_coming();
  void refuse_waiting();

  Loop& loop_;
  pid_t pid_ = -1;
  Fd control_, report_;
  std::string reported_;
  bool ready_ = false, known_ = false, without_profile_ = false;
  int failures_ = 0;  // in a row
  Clock::time_point started_;
  Loop::Timer timer_ = 0, idle_timer_ = 0;
  struct stat directory_{};  // of /tmp, when it started: a file system may be mounted there later
  std::vector<std::string> environment_;
  std::string shell_ = "/bin/sh";
  std::vector<std::pair<std::weak_ptr<void>, std::function<void()>>> ready_callbacks_;
  std::list<std::unique_ptr<Seat>> coming_, spare_;
  std::deque<std::unique_ptr<Waiting>> waiting_;
  std::size_t target_ = 2;             // executors to have spare
  unsigned ordered_ = 0, forked_ = 0;  // batches
};

}  // namespace attest::agent
