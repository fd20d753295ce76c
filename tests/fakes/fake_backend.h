// Machines whose guest is a real shell on this host and whose backend fails as it is told to:
// for tests of what a Driver makes of a backend's failures.
#pragma once
#include "attest/backend.h"
#include "attest/error.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attest::fakes {

/// How the backend of one machine behaves from its next boot on.
struct Behaviour {
  std::optional<Error> boot_error;  ///< boot() throws this
  bool boot_hangs = false;          ///< boot() heeds neither its deadline nor kill()
  bool boot_waits = false;          ///< boot() goes on at let_boot()
  std::string guest;                ///< a sh text in the place of the greeting shell
  bool shutdown_hangs = false;      ///< shutdown() heeds neither its deadline nor kill()
  bool has_links = false;           ///< it has LinkControl
  bool has_snapshots = false;       ///< it has Snapshotter; it saves one file, "memory"
  bool keeps_stream = false;        ///< its connection survives save()
  bool deaf_after_save = false;     ///< nobody greets on the connection that save() returns
  bool save_hangs = false;          ///< save() heeds neither its deadline nor kill()
  std::optional<Error> save_error;  ///< save() throws this, with half a file written
  SnapshotFacts facts = {};         ///< of its Snapshotter
};

/// Makes such backends and reaches into them. Any thread; must outlive the drivers.
class FakeBackends {
 public:
  FakeBackends();
  ~FakeBackends();

  /// {"fake", ...}: for a DriverSetup.
  Backends backends();
  void behave(const std::string& machine, Behaviour behaviour);

  /// Blocks until boot() of `machine` has been entered `times` times; false after 10 s.
  bool wait_for_boots(const std::string& machine, int times = 1);
  int boots(const std::string& machine);
  /// What the machine's backend was made with; it must have been started.
  const BackendContext& context(const std::string& machine);
  /// Lets a boot that waits go on.
  void let_boot(const std::string& machine);
  /// What LinkControl was told, in order: "-1" for VLAN 1 unplugged, "+1" for plugged.
  std::vector<std::string> links(const std::string& machine);
  /// The directories from which the machine was restored, in order.
  std::vector<std::filesystem::path> restored(const std::string& machine);
  /// The guest prints `text` to its console. Returns when the driver has it.
  void print(const std::string& machine, const std::string& text);
  /// The guest is gone, as `end` says.
  void end(const std::string& machine, Gone end);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace attest::fakes
