// A Guest over a resident root shell: the nixpkgs backdoor on a virtio console, or anything that
// prints its banner. Runs several commands at the same time over the one stream.
#pragma once
#include "lib/guest/guest.h"
#include "lib/guest/shell_channel.h"

namespace attest::guest {

/// See Guest. The destructor closes the stream; runs still under way fail with Error{host}.
class ShellGuest final : public Guest {
 public:
  explicit ShellGuest(std::shared_ptr<ShellChannel> channel) : channel_(std::move(channel)) {}
  ~ShellGuest() override { channel_->close(); }

  Task<CommandResult> run(Command command, Deadline deadline) override;
  Task<std::unique_ptr<Process>> spawn(Command command, Deadline deadline) override;
  Task<void> wait_for(Condition condition, Deadline deadline) override;
  Task<std::string> read_file(std::string path, Deadline deadline) override;
  Task<void> write_file(std::string path, std::string bytes, unsigned mode,
                        Deadline deadline) override;
  Task<void> send_tree(TreeSource& tree, std::string path, Deadline deadline) override;
  Task<void> fetch_tree(std::string path, TreeSink& sink, Deadline deadline) override;
  Task<void> set_clock(std::chrono::system_clock::time_point now, Deadline deadline) override;
  Task<void> power(Power wish, Deadline deadline) override;
  Task<void> wait_restarted(Deadline deadline) override;
  std::string take_notice() override;
  /// False where commands run under `sh -eu`, because the guest has no bash.
  bool strict_is_bash() const { return channel_->kind() == proto::ShellKind::bash; }

 private:
  std::shared_ptr<ShellChannel> channel_;
  bool noticed_ = false;
};

/// The shell text that makes `command` mean what DESIGN §1 says. Pure; throws Error{usage}.
std::string shell_text(const Command& command, proto::ShellKind kind);

}  // namespace attest::guest
