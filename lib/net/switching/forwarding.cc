#include "lib/net/switching/forwarding.h"

#include "lib/net/switching/ethernet.h"
#include "lib/net/switching/frames.h"

namespace attest::net {
namespace {

void add(SwitchStats& sum, const PortStats& port) {
  sum.frames_in += port.frames_in;
  sum.frames_out += port.frames_out;
  sum.dropped += port.dropped;
  sum.discarded += port.discarded;
  sum.faulted += port.faulted;
}

}  // namespace

PortStats Plug::stats() const {
  auto stats = port->sent();
  stats.port = number;
  stats.member = member;
  stats.frames_in = frames_in;
  stats.discarded += discarded;
  stats.faulted = faulted;
  return stats;
}

std::shared_ptr<Plug> Forwarding::join(std::shared_ptr<Port> port, Member member) {
  auto plug = std::make_shared<Plug>(std::move(port), ++last_number_, member);
  find_links(*plug);
  plugs_.emplace(plug->number, plug);
  return plug;
}

void Forwarding::leave(Plug& plug) {
  if (plug.left) return;
  plug.left = true;
  add(past_, plug.stats());
  plug.port->close();
  stations_.forget_port(plug.number);
  plugs_.erase(plug.number);
}

void Forwarding::leave(int number) {
  auto found = plugs_.find(number);
  if (found == plugs_.end()) return;
  auto plug = found->second;  // for the time of the call
  leave(*plug);
}

void Forwarding::end() noexcept {
  for (auto& [number, plug] : plugs_) {
    plug->left = true;
    plug->port->close();
  }
  plugs_.clear();
  waiting_.clear();
  watchers_.clear();
}

void Forwarding::take(Plug& from, std::span<const std::string_view> framed, Time now) {
  release_due(now);
  for (auto one : framed) {
    ++from.frames_in;
    auto frame = one.substr(length_bytes);
    auto addresses = read_addresses(frame);
    if (addresses && frame.size() <= max_forwarded_frame)
      come(from, one, *addresses, now);
    else
      ++from.discarded;
  }
  flush();
}

void Forwarding::come(Plug& from, std::string_view framed, const Addresses& addresses, Time now) {
  const Sender sender{.port = from.number, .member = from.member};
  if (!from.from) {
    learn(from, addresses, now);
    if (!watchers_.empty()) show(from.member, member_at(addresses, now), framed, "");
    forward(sender, addresses, framed, now);
    return;
  }
  auto passage = from.from->pass(framed.substr(length_bytes), now);
  if (!watchers_.empty()) show(from.member, member_at(addresses, now), framed, passage.fault);
  if (passage.copies == 0) {
    ++from.faulted;
    return;
  }
  learn(from, addresses, now);
  framed = changed(framed, passage);
  for (int copy = 0; copy < passage.copies; ++copy) {
    auto at = passage.at[static_cast<std::size_t>(copy)];
    if (at <= now)
      forward(sender, addresses, framed, now);
    else
      hold({.from = sender, .link = from.from}, framed, at);
  }
}

// Who is unplugged (cut off from everybody, and so from 0, which is nobody) is not heard: with an
// address that moves between machines it would draw the new holder's frames.
void Forwarding::learn(const Plug& from, const Addresses& addresses, Time now) {
  if (rules_.blocks_any() && rules_.blocks(from.member, 0)) return;
  stations_.learn(addresses.source, from.number, now);
}

void Forwarding::forward(Sender from, const Addresses& addresses, std::string_view framed,
                         Time now) {
  if (!is_group(addresses.destination))
    if (auto known = stations_.find(addresses.destination, now)) {
      // A station behind the sender's own port has seen the frame already.
      if (*known != from.port) deliver(from, *plugs_.at(*known), framed, now);
      return;
    }
  for (auto& [number, plug] : plugs_)
    if (number != from.port) deliver(from, *plug, framed, now);
}

void Forwarding::deliver(Sender from, Plug& to, std::string_view framed, Time now) {
  if (blocked(from, to, framed)) return;
  if (!to.to) {
    give(to, framed);
    return;
  }
  auto passage = to.to->pass(framed.substr(length_bytes), now);
  if (passage.copies == 0) {
    lost(from, to, framed, passage.fault);
    return;
  }
  framed = changed(framed, passage);
  for (int copy = 0; copy < passage.copies; ++copy) {
    auto at = passage.at[static_cast<std::size_t>(copy)];
    if (at <= now)
      give(to, framed);
    else
      hold({.from = from, .to = to.number, .link = to.to}, framed, at);
  }
}

void Forwarding::give(Plug& to, std::string_view framed) {
  if (!to.port->has_unflushed()) unflushed_.push_back(&to);
  to.port->add(framed);
}

bool Forwarding::blocked(Sender from, Plug& to, std::string_view framed) {
  if (!rules_.blocks_any() || !rules_.blocks(from.member, to.member)) return false;
  lost(from, to, framed, "partition");
  return true;
}

void Forwarding::lost(Sender from, Plug& to, std::string_view framed, const char* fault) {
  ++to.faulted;
  if (!watchers_.empty()) show(from.member, to.member, framed, fault);
}

std::string_view Forwarding::changed(std::string_view framed, const Passage& passage) {
  if (passage.flip_mask == 0) return framed;
  return kept_.emplace_back(flipped(framed, passage));
}

void Forwarding::hold(Delayed delayed, std::string_view framed, Time until) {
  delayed.framed = framed;
  // Most are the last ones: with the hint they cost no search.
  waiting_.emplace_hint(waiting_.end(), until, std::move(delayed));
}

// Frames go on in the order and as of the times that they were to, however late the loop is: links
// in a row then add up to the sum of their delays.
void Forwarding::release_due(Time now) {
  while (!waiting_.empty() && waiting_.begin()->first <= now) {
    auto due = waiting_.extract(waiting_.begin());
    auto& delayed = due.mapped();
    delayed.link->went_on(delayed.framed.size() - length_bytes);
    std::string_view framed = kept_.emplace_back(std::move(delayed.framed));
    if (delayed.to == 0) {
      if (auto addresses = read_addresses(framed.substr(length_bytes)))
        forward(delayed.from, *addresses, framed, due.key());
    } else if (auto to = plugs_.find(delayed.to); to != plugs_.end()) {
      if (!blocked(delayed.from, *to->second, framed)) give(*to->second, framed);
    }
  }
}

void Forwarding::release(Time now) {
  release_due(now);
  flush();
}

void Forwarding::flush() {
  for (auto* plug : unflushed_) plug->port->flush();
  unflushed_.clear();
  if (!kept_.empty()) kept_.clear();
}

std::optional<Forwarding::Time> Forwarding::next_release() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.begin()->first;
}

void Forwarding::set_rules(Rules rules) {
  rules_ = std::move(rules);
  // A link that is no longer shaped is remembered: shaped again it makes new choices, not those
  // that it has made already.
  for (auto& [key, shaper] : links_) {
    auto& [member, direction] = key;
    auto* does = direction == Direction::from_machine ? rules_.from(member) : rules_.to(member);
    shaper.set(does ? *does : Impairment{});
  }
  for (auto& [number, plug] : plugs_) find_links(*plug);
}

void Forwarding::find_links(Plug& plug) {
  plug.from = rules_.from(plug.member) ? &link(plug.member, Direction::from_machine) : nullptr;
  plug.to = rules_.to(plug.member) ? &link(plug.member, Direction::to_machine) : nullptr;
}

Shaper& Forwarding::link(Member member, Direction direction) {
  auto [found, fresh] = links_.try_emplace(std::pair(member, direction), seed_, member, direction);
  if (fresh) {
    auto* does = direction == Direction::from_machine ? rules_.from(member) : rules_.to(member);
    if (does) found->second.set(*does);
  }
  return found->second;
}

int Forwarding::watch(Watcher watcher) {
  watchers_.emplace(++last_watcher_, std::move(watcher));
  return last_watcher_;
}

Member Forwarding::member_at(const Addresses& addresses, Time now) const {
  if (is_group(addresses.destination)) return 0;
  auto known = stations_.find(addresses.destination, now);
  return known ? plugs_.at(*known)->member : 0;
}

void Forwarding::show(Member from, Member to, std::string_view framed, const char* fault) const {
  const Seen seen{.at = std::chrono::system_clock::now(),
                  .from = from,
                  .to = to,
                  .frame = framed.substr(length_bytes),
                  .fault = fault};
  for (auto& [number, watcher] : watchers_) watcher(seen);
}

SwitchStats Forwarding::stats() const {
  SwitchStats sum = past_;
  for (auto& [number, plug] : plugs_) {
    sum.ports.push_back(plug->stats());
    add(sum, sum.ports.back());
  }
  return sum;
}

}  // namespace attest::net
