#include "tests/unit/agent/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace attest::agent_test {

using namespace std::chrono_literals;
using proto::AgentFrameType;

namespace {

constexpr auto patience = 20s;

long status_line(pid_t pid, std::string_view name) {
  auto text = base::read_file("/proc/" + std::to_string(pid) + "/status");
  auto at = text.find("\n" + std::string(name) + ":");
  return at == text.npos ? 0 : std::atol(text.c_str() + at + name.size() + 2);
}

}  // namespace

std::string agent_path() {
  const char* path = std::getenv("ATTEST_AGENT");
  if (path == nullptr) throw std::runtime_error("ATTEST_AGENT does not name the agent's program");
  return path;
}

bool alive(pid_t pid) {
  auto stat = base::try_read_file("/proc/" + std::to_string(pid) + "/stat");
  auto name_end = stat ? stat->rfind(") ") : std::string::npos;
  return name_end != std::string::npos && stat->at(name_end + 2) != 'Z';
}

AgentProcess::AgentProcess(std::vector<std::string> arguments, int in, int out,
                           std::function<void()> in_child) {
  arguments.insert(arguments.begin(), agent_path());
  std::vector<char*> argv;
  for (auto& word : arguments) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int nothing = ::open("/dev/null", O_RDWR);
  dup2(in < 0 ? nothing : in, 0);
  dup2(out < 0 ? nothing : out, 1);
  if (in_child) in_child();
  execv(argv[0], argv.data());
  _exit(99);
}

AgentProcess::~AgentProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);  // it ends its commands
  for (int i = 0; i < 500; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) return;
    std::this_thread::sleep_for(10ms);
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

int AgentProcess::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

long AgentProcess::rss_kib() const { return status_line(pid_, "VmRSS"); }
long AgentProcess::peak_rss_kib() const { return status_line(pid_, "VmHWM"); }

std::size_t AgentProcess::descriptors() const {
  std::filesystem::directory_iterator entries("/proc/" + std::to_string(pid_) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

std::string Stream::result(std::string_view name) const {
  if (error)
    return "error: " + std::string(error->get("kind")) + ": " + std::string(error->get("text"));
  return done ? std::string(done->get(name)) : "not over";
}

int Stream::code() const {
  if (!done) return -1000;
  if (auto signal = done->number("signal")) return static_cast<int>(-*signal);
  return static_cast<int>(done->number("code").value_or(-1001));
}

Peer::Peer(base::Fd in, base::Fd out, bool say_hello) : in_(std::move(in)), out_(std::move(out)) {
  fcntl(in_.get(), F_SETFL, fcntl(in_.get(), F_GETFL) | O_NONBLOCK);
  if (out_) fcntl(out_.get(), F_SETFL, fcntl(out_.get(), F_GETFL) | O_NONBLOCK);
  until([&] { return decoder_.greeted(); });
  if (say_hello) hello("0123456789abcdef");
}

void Peer::hello(std::string_view nonce) { raw(proto::agent_hello(nonce)); }

void Peer::ask(std::string_view nonce) { raw(proto::agent_question(nonce)); }

void Peer::expect_greeting() {
  decoder_ = proto::AgentDecoder(proto::AgentDecoder::Expect::greeting);
  until([&] { return decoder_.greeted(); });
}

void Peer::raw(std::string_view bytes) {
  const int fd = out_ ? out_.get() : in_.get();
  while (!bytes.empty()) {
    const auto count = write(fd, bytes.data(), bytes.size());
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      // What the agent says meanwhile must be read, or both ends wait for each other.
      read_for(5ms);
      if (closed_) throw std::runtime_error("the agent hung up");
    } else {
      throw std::runtime_error(std::string("writing to the agent: ") + std::strerror(errno));
    }
  }
}

std::uint32_t Peer::open(const AgentFields& fields) {
  open_as(++last_, fields);
  return last_;
}

void Peer::open_as(std::uint32_t stream, const AgentFields& fields) {
  streams_[stream] = {};
  raw(proto::agent_frame(AgentFrameType::open, stream, fields.encode()));
}

void Peer::event(std::uint32_t stream, const AgentFields& fields) {
  raw(proto::agent_frame(AgentFrameType::event, stream, fields.encode()));
}

void Peer::cancel(std::uint32_t stream) { raw(proto::agent_frame(AgentFrameType::cancel, stream)); }

void Peer::data(std::uint32_t stream, std::string_view bytes) {
  while (!bytes.empty() && !streams_[stream].over()) {
    until([&] { return streams_[stream].credit != 0 || streams_[stream].over(); });
    auto piece =
        bytes.substr(0, std::min<std::size_t>(streams_[stream].credit, proto::agent_data_limit));
    bytes.remove_prefix(piece.size());
    streams_[stream].credit -= piece.size();
    raw(proto::agent_data_head(stream, proto::agent_input, piece.size()));
    raw(piece);
  }
}

void Peer::end(std::uint32_t stream) { raw(proto::agent_end(stream, proto::agent_input)); }

void Peer::until(const std::function<bool()>& ready) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!ready()) {
    if (closed_) throw std::runtime_error("the agent hung up");
    if (!decoder_.broken().empty()) throw std::runtime_error(decoder_.broken());
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("the agent has not answered for 20 s");
    read_for(1000ms);
  }
}

Stream& Peer::wait(std::uint32_t stream) {
  until([&] { return streams_[stream].over(); });
  return streams_[stream];
}

void Peer::settle() {
  const int before = pongs_;
  raw(proto::agent_frame(AgentFrameType::ping, 0, "x"));
  until([&] { return pongs_ > before; });
}

void Peer::listen(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!closed_ && std::chrono::steady_clock::now() < end) read_for(10ms);
}

void Peer::hang_up() {
  in_.reset();
  out_.reset();
}

bool Peer::read_for(std::chrono::milliseconds time) {
  pollfd ready{in_.get(), POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(time.count())) <= 0) return false;
  std::string buffer(read_size, '\0');
  const auto count = read(in_.get(), buffer.data(), buffer.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (count <= 0) {
    closed_ = true;
    return false;
  }
  decoder_.feed({buffer.data(), static_cast<std::size_t>(count)});
  while (auto frame = decoder_.next()) take(*frame);
  return true;
}

void Peer::take(const proto::AgentFrame& frame) {
  if (frame.is(AgentFrameType::pong)) {
    ++pongs_;
    return;
  }
  auto& stream = streams_[frame.stream];
  if (frame.is(AgentFrameType::data)) {
    auto [channel, bytes] = frame.channel().value();
    if (!discarded_[frame.stream]) stream.data[channel] += bytes;
    stream.sizes[channel] += bytes.size();
    auto& used = used_[frame.stream] += bytes.size();
    if (stalled_[frame.stream] || used < proto::agent_window / 2) return;
    raw(proto::agent_window_frame(frame.stream,
                                  static_cast<std::uint32_t>(std::exchange(used, 0))));
  } else if (frame.is(AgentFrameType::end)) {
    stream.ended[frame.channel().value().first] = true;
  } else if (frame.is(AgentFrameType::window)) {
    stream.credit += frame.credit().value();
  } else if (frame.is(AgentFrameType::event)) {
    stream.events.push_back(AgentFields::decode(frame.payload).value());
  } else if (frame.is(AgentFrameType::done)) {
    stream.done = AgentFields::decode(frame.payload).value();
  } else if (frame.is(AgentFrameType::error)) {
    stream.error = AgentFields::decode(frame.payload).value();
  } else {
    throw std::runtime_error("a frame of type " + std::to_string(frame.type));
  }
}

Agent::Agent(std::function<void()> in_child)
    : process_({"--unix", (directory_.path() / "socket").string()}, -1, -1, std::move(in_child)) {}

base::Fd Agent::connect_raw() {
  const auto path = (directory_.path() / "socket").string();
  for (int tries = 0;; ++tries) {
    try {
      return base::connect_unix(path);
    } catch (...) {
      if (tries == 3000) throw;
      std::this_thread::sleep_for(10ms);  // it has just been started
    }
  }
}

Peer Agent::connect(bool say_hello) { return Peer(connect_raw(), base::Fd(), say_hello); }

pid_t pid_of(Peer& peer, std::uint32_t stream) {
  peer.until([&] { return !peer[stream].events.empty(); });
  return static_cast<pid_t>(peer[stream].events[0].number("pid").value());
}

void until_dead(pid_t pid) {
  for (int i = 0; i < 500 && alive(pid); ++i) usleep(10'000);
  if (alive(pid)) throw std::runtime_error("a command has outlived what should end it");
}

}  // namespace attest::agent_test
