// Misbehaviour on demand, for tests of the code that talks to a monitor: what the environment
// variable ATTEST_SIM_TROUBLE lists.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace attest::sims {

/// ATTEST_SIM_TROUBLE is a list, split at ',' or ';', of KIND:WHAT or KIND:WHAT@N. WHAT is the
/// start of a request line without its version ("PUT /actions", "PATCH /vm"), "CONNECT 1024" (a
/// vsock connection from the host), "DIAL 1024" (one from the guest) or "START" (before the API
/// socket is made). With @N only the N-th time (from 1), else each time.
///
///     die:PUT /snapshot/create      http500:PUT /actions@2,stall:CONNECT 1024
class Trouble {
 public:
  enum class Kind {
    none,
    stall,    ///< no answer, ever; the connection stays open
    drop,     ///< the connection ends without an answer
    refuse,   ///< refused in the original's words for a bad request
    die,      ///< the monitor ends at once, by SIGKILL
    garbage,  ///< bytes that are no answer
    http500   ///< status 500 with a text
  };

  /// Throws Error{usage} for what it cannot read.
  explicit Trouble(std::string_view list);
  /// From the environment; empty without the variable.
  static Trouble from_environment();

  /// What is to go wrong with this one; counts it. `what` is as WHAT above, and may go on after it.
  Kind take(std::string_view what);
  /// Like take(), and does `die` itself.
  Kind suffer(std::string_view what);

 private:
  struct Item {
    Kind kind;
    std::string what;
    int only = 0;  ///< 0: each time
    int seen = 0;
  };
  std::vector<Item> items_;
};

}  // namespace attest::sims
