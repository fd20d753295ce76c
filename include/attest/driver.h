// A set of machines with their networks.
#pragma once
#include "attest/config.h"
#include "attest/error.h"
#include "attest/machine.h"
#include "attest/network.h"
#include "attest/polling.h"

#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace attest {

struct DriverSetup;  // attest/backend.h
struct Missing;

/// Owns the machines of a config, their networks and the event loop that serves them. The
/// destructor ends every machine at once; nothing of them is left. Neither copied nor moved.
class Driver {
 public:
  using Here = std::source_location;

  /// For harnesses that choose the parts themselves; most want make_driver().
  Driver(Config config, DriverSetup setup);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  ~Driver();

  /// The machine of that name. Throws Error{usage} listing the known names and the nearest.
  Machine& machine(std::string_view name, Here here = Here::current());
  /// All machines, in the order of their names.
  std::vector<Machine*> machines();
  /// Boots all machines that are off, in parallel, and returns when each has greeted. Those
  /// that failed are joined into one Error with the name of each.
  void start_all(Here here = Here::current());
  /// Waits until all machines that run have gone down by themselves. Limit: timeouts.wait. Those
  /// that crashed or still run then are joined into one Error with the name of each.
  void join_all(WaitOptions options = {}, Here here = Here::current());
  /// Adds a machine while the test runs. It gets the next node number and joins its VLANs; machines
  /// that were booted before do not know its name. Valid until the driver ends. Throws Error{usage}
  /// for a name in use or a bad config, Error{unsupported} for what this host lacks.
  ///     auto& third = driver().create_machine("third", {.memory_mb = 256});
  Machine& create_machine(std::string name, MachineConfig config, Here here = Here::current());
  /// The networks: links, faults, captures.
  Network network();
  /// Console lines are shown to people, as they come: the default.
  void serial_stdout_on();
  /// Console lines only go to the logs.
  void serial_stdout_off();
  /// Looks at `condition` at the operations on these machines until the result is destroyed.
  HeldCondition hold(const PollingCondition& condition);
  /// With the machines that were added. Not while another thread calls create_machine().
  const Config& config() const noexcept;
  /// What this host lacks for these machines, each with the remedy; empty if it can run them.
  /// Boots nothing. Missing is in attest/backend.h.
  std::vector<Missing> missing();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A driver with the built-in backends, output on stderr, and a work directory in the sandbox
/// if one was entered. Throws Error{usage} for a config that cannot be run.
std::unique_ptr<Driver> make_driver(Config config);

}  // namespace attest
