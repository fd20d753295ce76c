// A set of machines with their networks.
#pragma once
#include "attest/config.h"
#include "attest/error.h"
#include "attest/machine.h"

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
