// A guest with the bench's own program in it (bench/peer), on a virtio port of its own, or on a
// socket where the guest is a container: the measure of what the machine and the channel can do,
// without attest in between.
#pragma once
#include <attest/driver.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace bench {

/// One booted guest at multi-user.target, and the program in it as the unit bench.service. Every
/// failure ends the program with a message.
class GuestPeer {
 public:
  /// Under QEMU. `work_dir` is where the port's socket goes; `extra_args` are for QEMU.
  explicit GuestPeer(const std::string& work_dir, int memory_mb = 512,
                     std::vector<std::string> extra_args = {});
  /// In a container.
  static GuestPeer in_container();
  GuestPeer(const GuestPeer&) = delete;
  GuestPeer& operator=(const GuestPeer&) = delete;
  ~GuestPeer();

  attest::Machine& machine() { return driver_->machine("guest"); }
  /// Starts bench.service, without waiting for it to be active, and returns when its program
  /// answers.
  void start();
  /// Asks for one thing and waits for its end.
  void ask(char what);
  /// As ask(), in two halves.
  void send(char what);
  void await(char what);
  /// Milliseconds for `size` bytes into the guest ('i') or out of it ('o'); 'I' and 'O': into a
  /// file of the guest's memory, and out of it again.
  double transfer_ms(char what, std::uint64_t size);
  /// Milliseconds from now since `then`.
  static double since(std::chrono::steady_clock::time_point then) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - then)
        .count();
  }

 private:
  struct Container {};
  explicit GuestPeer(attest::Config config);
  GuestPeer(attest::Config config, Container);
  void install(const std::string& port);

  std::unique_ptr<attest::Driver> driver_;
  int listener_ = -1;  ///< which the program dials; else the port has a socket that we have dialled
  int fd_ = -1;
};

}  // namespace bench
