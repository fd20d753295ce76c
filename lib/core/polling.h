// The polling conditions that are held over a driver: looked at when a test uses a machine.
#pragma once
#include "attest/polling.h"

#include <list>
#include <memory>
#include <mutex>
#include <source_location>

namespace attest {

/// Shared by the copies of a PollingCondition.
struct PollingCondition::Impl {
  std::function<bool()> holds;
  PollingOptions options;
  std::mutex looking;  ///< one at a time; others go on meanwhile
  std::chrono::steady_clock::time_point next{};

  /// True, or why not in words.
  bool look(std::string& why);
};

namespace core {

/// Any thread.
class Polling {
 public:
  using Condition = std::shared_ptr<PollingCondition::Impl>;

  void add(const Condition& condition);
  void remove(const Condition& condition);
  /// Looks at those that are overdue. Throws Error{guest} for one that does not hold. What a
  /// condition does on machines itself looks at nothing.
  void check(std::source_location here);

 private:
  std::mutex mutex_;
  std::list<Condition> held_;
};

}  // namespace core
}  // namespace attest
