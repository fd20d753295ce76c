// A Guest over a resident root shell: the nixpkgs backdoor on a virtio console, or anything that
// prints its banner. Runs several commands at the same time over the one stream.
#pragma once
#include "lib/guest/guest.h"
#include "lib/guest/shell_channel.h"

namespace attest::guest {

/// ShellGuest::run(), for those who may outlive the guest.
Task<CommandResult> run_over(std::shared_ptr<ShellChannel> channel, Command command,
                             Deadline deadline);
/// See Guest. The destructor closes the stream; runs still under way fail with Error{host}.
class ShellGuest final : public Guest {
 public:
  /// `files` outlives the guest; null: files go over the shell.
  explicit ShellGuest(std::shared_ptr<ShellChannel> channel, FileTransfer* files = nullptr)
      : channel_(std::move(channel)), files_(files) {}
  ~ShellGuest() override { channel_->close(); }

  Task<CommandResult> run(Command command, Deadline deadline) override {
    return run_over(channel_, std::move(command), deadline);
  }
  Task<std::unique_ptr<Process>> spawn(Command command, Deadline deadline) override;
  Task<void> wait_for(Condition condition, Deadline deadline) override;
  Task<std::string> read_file(std::string path, Deadline deadline) override;
  Task<void> write_file(std::string path, std::string bytes, unsigned mode,
                        Deadline deadline) override;
  Task<void> send_tree(TreeSource& tree, std::string path, Deadline deadline) override;
  Task<void> fetch_tree(std::string path, TreeSink& sink, Deadline deadline) override;
  Task<void> set_clock(std::chrono::system_clock::time_point now, Deadline deadline) override;
  Task<void> reseed(std::string bytes, Deadline deadline) override;
  Task<void> power(Power wish, Deadline deadline) override;
  Task<void> wait_restarted(Deadline deadline) override;
  std::string take_notice() override;
  /// False where commands run under `sh -eu`, because the guest has no bash.
  bool strict_is_bash() const { return channel_->kind() == proto::ShellKind::bash; }

  /// What take_notice() says beside its own.
  void add_notice(std::string text);
  const std::shared_ptr<ShellChannel>& channel() const { return channel_; }

 private:
  std::shared_ptr<ShellChannel> channel_;
  FileTransfer* files_;
  std::string notice_;
  std::uint64_t seen_banners_ = 1;
  bool noticed_ = false;
};

/// Runs `text`, not strict, and returns its stdout; Error{guest} with its stderr if it fails.
Task<std::string> ask(std::shared_ptr<ShellChannel> channel, std::string text, Deadline deadline);
/// Appends `bytes`, which must outlive the call, to the guest's file `path` in chunks; whether they
/// came whole is for the caller to check. Throws Error{guest} if it cannot be written.
Task<void> append(std::shared_ptr<ShellChannel> channel, std::string path, std::string_view bytes,
                  Deadline deadline);

/// The shell text that makes `command` mean what DESIGN §1 says; `input_file` becomes its stdin and
/// is removed ("": /dev/null). Pure; throws Error{usage}.
std::string shell_text(const Command& command, proto::ShellKind kind,
                       const std::string& input_file = {});

}  // namespace attest::guest
