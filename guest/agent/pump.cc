#include "guest/agent/pump.h"

#include "guest/agent/piece.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>

namespace attest::agent {
namespace {

constexpr std::size_t most_drains = 512;
// For what a terminal's line discipline has not handed on yet when its command ends.
constexpr auto terminal_quiet = std::chrono::milliseconds(30);

}  // namespace

void drain(Loop& loop, Fd fd) {
  static std::deque<int> open;
  // Mostly nobody has it open any more.
  if (read(fd.get(), piece_buffer(), piece_size) == 0) return;
  if (open.size() >= most_drains) {
    loop.forget(open.front());
    close(open.front());
    open.pop_front();
  }
  const int raw = fd.release();
  const auto take = [&loop, raw](std::uint32_t) {
    const auto count = read(raw, piece_buffer(), piece_size);
    if (count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR))) return;
    loop.forget(raw);
    close(raw);
    std::erase(open, raw);
  };
  if (loop.watch(raw, EPOLLIN, take)) {
    open.push_back(raw);
  } else {
    close(raw);
  }
}

OutputPump::~OutputPump() {
  loop_.cancel(quiet_);
  loop_.forget(fd_.get());
  if (fd_ && !terminal_) drain(loop_, std::move(fd_));
}

void OutputPump::open(Fd fd, bool terminal) {
  fd_ = std::move(fd);
  terminal_ = terminal;
  watched_ = EPOLLIN;
  loop_.watch(fd_.get(), watched_, [this](std::uint32_t) { pump(); });
}

void OutputPump::resume() {
  if (!ended_ && fd_) pump();
}

void OutputPump::pump() {
  auto room = std::min(out_.room(), piece_size);
  if (finishing_ && !terminal_) room = std::min(room, left_);
  if (room == 0 && finishing_ && !terminal_ && left_ == 0) return end();
  // A hang-up is reported for as long as it lasts, so what has no room is not watched at all.
  if (room == 0) return loop_.forget(fd_.get()), void(watched_ = 0);
  if (watched_ == 0) {
    watched_ = EPOLLIN;
    loop_.watch(fd_.get(), watched_, [this](std::uint32_t) { pump(); });
  }
  const auto count = read(fd_.get(), piece_buffer(), room);
  if (count > 0) {
    const auto size = static_cast<std::size_t>(count);
    left_ -= std::min(left_, size);
    out_.data(channel_, {piece_buffer(), size});
    if (finishing_) finish_more();
    return;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  end();  // a terminal whose other end is closed says EIO
}

void OutputPump::finish() {
  if (ended_) return;
  if (!fd_) return end();
  finishing_ = true;
  int waiting = 0;
  if (!terminal_ && ioctl(fd_.get(), FIONREAD, &waiting) == 0)
    left_ = static_cast<std::size_t>(std::max(waiting, 0));
  finish_more();
}

// Goes on until the rest is sent, without waiting for descriptors: it is all there.
void OutputPump::finish_more() {
  if (ended_) return;
  if (terminal_) {
    loop_.cancel(quiet_);
    quiet_ = loop_.at(Clock::now() + terminal_quiet, [this] {
      quiet_ = 0;
      if (watched_ != 0) end();  // else the host has not taken all yet
    });
    return;
  }
  if (left_ == 0) return end();
  pump();
}

void OutputPump::abandon() {
  if (!ended_) end();
}

void OutputPump::end() {
  if (std::exchange(ended_, true)) return;
  loop_.cancel(std::exchange(quiet_, 0));
  loop_.forget(fd_.get());
  out_.end(channel_);
  if (fd_ && !terminal_ && finishing_) drain(loop_, std::move(fd_));
  fd_.reset();
  over_();
}

void InputPump::open(Fd fd, bool terminal) {
  if (closed_) return;
  fd_ = std::move(fd);
  terminal_ = terminal;
  pump();
}

void InputPump::add(std::string_view bytes) {
  if (closed_) return out_.consumed(bytes.size());
  pending_ += bytes;
  pump();
}

void InputPump::end() {
  ending_ = true;
  pump();
}

void InputPump::pump() {
  if (!fd_) return;
  if (ending_ && terminal_) {
    pending_ += '\x04';  // the end, as it is typed
    ending_ = false;
  }
  bool blocked = false;
  while (written_ < pending_.size()) {
    const auto count = write(fd_.get(), pending_.data() + written_, pending_.size() - written_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) return close();  // nobody reads it any more
    if (count <= 0) {
      blocked = true;
      break;
    }
    written_ += static_cast<std::size_t>(count);
    out_.consumed(static_cast<std::size_t>(count));
  }
  if (written_ > 2 * proto::agent_data_limit) pending_.erase(0, std::exchange(written_, 0));
  if (written_ == pending_.size()) {
    written_ = 0;
    if (pending_.capacity() > 2 * proto::agent_data_limit) pending_ = std::string();
    pending_.clear();
    if (ending_) return close();
  }
  if (blocked == watched_) return;
  watched_ = blocked;
  if (blocked) {
    loop_.watch(fd_.get(), EPOLLOUT, [this](std::uint32_t) { pump(); });
  } else {
    loop_.forget(fd_.get());
  }
}

void InputPump::close() {
  if (std::exchange(closed_, true)) return;
  loop_.forget(fd_.get());
  fd_.reset();
  out_.consumed(pending_.size() - written_);
  pending_ = std::string();
  written_ = 0;
}

}  // namespace attest::agent
