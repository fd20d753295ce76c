// A Guest over attest-agent: every call is one operation of its protocol, any number at once.
#pragma once
#include "lib/guest/guest.h"
#include "lib/proto/agent.h"

#include <functional>
#include <memory>
#include <string>

namespace attest::guest {

/// See Guest. The destructor closes the connection; what is under way fails with Error{host}.
class AgentGuest : public Guest {
 public:
  explicit AgentGuest(std::shared_ptr<proto::Agent> agent) : agent_(std::move(agent)) {}
  ~AgentGuest() override { agent_->close(); }

  Task<CommandResult> run(Command command, Deadline deadline) override;
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

  proto::Agent& agent() { return *agent_; }

 private:
  std::shared_ptr<proto::Agent> agent_;
  std::uint64_t seen_restarts_ = 0;
};

/// The fields that make `run` mean `command`. Pure; throws Error{usage}.
proto::AgentFields run_fields(const Command& command);

/// Takes the news of `stream` until done and returns its fields; `take` gets what comes before,
/// also after the deadline. Past the deadline the operation is cancelled, and once that is answered
/// Error{timeout} says that `what` did not end within its time; an agent that does not answer at
/// all is named. The references must outlive the call. Throws what AgentStream::next() throws.
using TakeNews = std::function<void(proto::AgentNews&)>;
Task<proto::AgentFields> finish(proto::Agent& agent, proto::AgentStream& stream, std::string what,
                                Deadline deadline, TakeNews take = {});

/// After a deadline: cancels, waits until that is answered, and returns the text of why it was not
/// ("" if it was). The references must outlive the call.
Task<std::string> give_up(proto::Agent& agent, proto::AgentStream& stream, TakeNews take = {});

}  // namespace attest::guest
