// One stream of a Connection: its window, its turns, its operation. Included by connection.cc only.
#pragma once
#include "guest/agent/connection.h"

#include <algorithm>
#include <utility>

namespace attest::agent {

/// The rest of a turn that is not worth a frame of its own.
inline constexpr std::size_t smallest_turn = 4 << 10;

/// The way to the host for one operation.
class Connection::Stream final : public Output {
 public:
  Stream(Connection& connection, std::uint32_t id) : connection_(connection), id_(id) {}

  std::size_t room() const override {
    const auto room = room_now();
    if (room == 0) wait_for_room();
    return room;
  }
  void data(std::uint8_t channel, std::string_view bytes) override {
    bytes = bytes.substr(0, credit_);  // an operation that overdoes it must not hurt the others
    while (!over_ && !bytes.empty()) {
      auto piece = bytes.substr(0, proto::agent_data_limit);
      bytes.remove_prefix(piece.size());
      credit_ -= piece.size();
      turn_left_ -= std::min<std::size_t>(turn_left_, piece.size());
      connection_.send_data(proto::agent_data_head(id_, channel, piece.size()), piece);
    }
    if (turn_left_ < smallest_turn) turn_left_ = 0;
    if (room_now() == 0) wait_for_room();
  }
  void end(std::uint8_t channel) override {
    if (!over_) connection_.send(proto::agent_end(id_, channel));
  }
  void event(const AgentFields& fields) override {
    if (!over_)
      connection_.send(proto::agent_frame(proto::AgentFrameType::event, id_, fields.encode()));
  }
  void done(const AgentFields& fields) override { finish(proto::AgentFrameType::done, fields); }
  void error(std::string_view kind, std::string_view text) override {
    finish(proto::AgentFrameType::error, {{"kind", kind}, {"text", text}});
  }
  void consumed(std::size_t bytes) override {
    consumed_ += bytes;
    if (over_ || input_ended || consumed_ < window_ / 4) return;
    allowance += consumed_;
    connection_.send(
        proto::agent_window_frame(id_, static_cast<std::uint32_t>(std::exchange(consumed_, 0))));
  }

  void widen(std::size_t bytes) override {
    window_ += bytes;
    allowance += bytes;
    connection_.send(proto::agent_window_frame(id_, static_cast<std::uint32_t>(bytes)));
  }

  void wait_for_room() const {
    if (over_ || hungry_ || credit_ == 0) return;  // credit comes with a frame
    hungry_ = true;
    connection_.hungry_.push_back(id_);
    connection_.flush_soon();
  }

  bool over() const { return over_; }
  void add_credit(std::uint32_t bytes) { credit_ += bytes; }
  bool has_credit() const { return credit_ != 0; }
  void take_turn() {
    turn_left_ = proto::agent_data_limit;
    hungry_ = false;
    operation->on_room();
  }

  std::unique_ptr<Operation> operation;
  std::size_t allowance = proto::agent_window;  // what the host may still send
  bool input_ended = false;

 private:
  std::size_t room_now() const {
    const auto& c = connection_;
    if (over_ || (!c.hungry_.empty() && c.turn_ != id_)) return 0;
    const auto waiting = c.outbox_.size() - c.sent_;
    auto room = std::min<std::size_t>(credit_, outbox_limit - std::min(outbox_limit, waiting));
    return c.turn_ == id_ ? std::min(room, turn_left_) : room;
  }
  void finish(proto::AgentFrameType type, const AgentFields& fields) {
    if (std::exchange(over_, true)) return;
    connection_.send(proto::agent_frame(type, id_, fields.encode()));
    connection_.ended_.push_back(id_);
  }

  Connection& connection_;
  const std::uint32_t id_;
  std::uint64_t credit_ = proto::agent_window;
  std::size_t window_ = proto::agent_window, turn_left_ = 0, consumed_ = 0;
  bool over_ = false;
  mutable bool hungry_ = false;
};

}  // namespace attest::agent
