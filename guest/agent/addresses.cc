#include "guest/agent/addresses.h"

#include "guest/agent/files.h"
#include "guest/agent/piece.h"
#include "guest/agent/spawn.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace attest::agent {
namespace {

// The next word of a line, taken off it; "" at its end.
std::string_view word(std::string_view& line) {
  auto start = line.find_first_not_of(" \t\r");
  if (start == std::string_view::npos) return {};
  line.remove_prefix(start);
  auto found = line.substr(0, line.find_first_of(" \t\r"));
  line.remove_prefix(found.size());
  return found;
}

std::string_view take_line(std::string_view& text) {
  auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

void add_once(std::vector<Address>& list, const Address& address) {
  if (std::find(list.begin(), list.end(), address) == list.end()) list.push_back(address);
}

// An address as /proc/net/udp prints it: the bytes of each 32-bit word as a number of this machine.
std::optional<Address> parse_hex(std::string_view text) {
  if (text.size() != 8 && text.size() != 32) return std::nullopt;
  Address address;
  address.family = text.size() == 8 ? AF_INET : AF_INET6;
  for (std::size_t i = 0; i < text.size() / 8; ++i) {
    auto number = static_cast<std::uint32_t>(
        std::strtoul(std::string(text.substr(i * 8, 8)).c_str(), nullptr, 16));
    memcpy(address.bytes + i * 4, &number, 4);
  }
  return address;
}

}  // namespace

bool Address::is_any() const {
  return std::all_of(bytes, bytes + size(), [](unsigned char byte) { return byte == 0; });
}

bool Address::operator==(const Address& other) const {
  return family == other.family && memcmp(bytes, other.bytes, size()) == 0;
}

std::string Address::text() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, bytes, text, sizeof text);
  return text;
}

socklen_t Address::with_port(std::uint16_t port, sockaddr_storage& to) const {
  memset(&to, 0, sizeof to);
  if (family == AF_INET) {
    auto& address = reinterpret_cast<sockaddr_in&>(to);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    memcpy(&address.sin_addr, bytes, 4);
    return sizeof address;
  }
  auto& address = reinterpret_cast<sockaddr_in6&>(to);
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  memcpy(&address.sin6_addr, bytes, 16);
  return sizeof address;
}

std::optional<Address> parse_address(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']')
    text = text.substr(1, text.size() - 2);
  Address address;
  std::string whole(text);
  if (inet_pton(AF_INET, whole.c_str(), address.bytes) == 1) return address;
  address.family = AF_INET6;
  if (inet_pton(AF_INET6, whole.c_str(), address.bytes) == 1) return address;
  return std::nullopt;
}

std::vector<Address> addresses_in_hosts(std::string_view content, std::string_view name) {
  // Small guests have no line for it, and some have another machine's.
  if (name == "localhost") return {*parse_address("127.0.0.1"), *parse_address("::1")};
  std::vector<Address> found;
  while (!content.empty()) {
    auto line = take_line(content);
    line = line.substr(0, line.find('#'));
    auto address = parse_address(word(line));
    for (auto host = word(line); address && !host.empty(); host = word(line)) {
      auto equal = [](unsigned char one, unsigned char other) {
        return std::tolower(one) == std::tolower(other);
      };
      bool same = std::equal(host.begin(), host.end(), name.begin(), name.end(), equal);
      if (same) add_once(found, *address);
    }
  }
  return found;
}

std::vector<Address> addresses_of_getent(std::string_view output) {
  std::vector<Address> found;
  while (!output.empty()) {
    auto line = take_line(output);
    if (auto address = parse_address(word(line))) add_once(found, *address);
  }
  return found;
}

bool has_udp_port(std::string_view table, const Address& address, std::uint16_t port) {
  while (!table.empty()) {
    auto line = take_line(table);
    word(line);  // the row's number
    auto local = word(line);
    word(line);  // the other end
    auto colon = local.rfind(':');
    // 07 is TCP_CLOSE, which for UDP means: not connected to one peer.
    if (word(line) != "07" || colon == std::string_view::npos) continue;
    auto bound = parse_hex(local.substr(0, colon));
    if (!bound || std::strtoul(std::string(local.substr(colon + 1)).c_str(), nullptr, 16) != port)
      continue;
    // A socket on :: takes what comes by IPv4, too.
    bool any = bound->is_any() && (bound->family == address.family || bound->family == AF_INET6);
    if (any || *bound == address) return true;
  }
  return false;
}

Lookup::Lookup(Loop& loop, const std::string& name, Found found)
    : loop_(loop), found_(std::move(found)) {
  int ends[2] = {-1, -1};
  int code = pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : errno;
  output_.reset(ends[0]);
  Fd to(ends[1]);
  if (code == 0) {
    Program program;
    program.argv = {"getent", "ahosts", "--", name};
    const char* path = getenv("PATH");
    program.env = {std::string("PATH=") + (path ? path : default_path)};
    program.out = to.get();
    auto started = spawn(program);
    child_ = started.pid;
    code = started.failed == Spawned::Step::none ? 0 : started.error;
  }
  if (code != 0) {
    child_ = 0;
    failed_ = loop_.at(Clock::now(), [this, code] {
      found_({}, "cannot run getent: " + std::string(error_text(code)));
    });
    return;
  }
  loop_.watch(output_.get(), EPOLLIN, [this](std::uint32_t) { on_output(); });
}

Lookup::~Lookup() {
  loop_.cancel(failed_);
  if (output_) loop_.forget(output_.get());
  if (child_ > 0) kill(child_, SIGKILL);  // reaped by the loop
}

void Lookup::on_output() {
  auto size = read(output_.get(), piece_buffer(), piece_size);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size > 0) {
    if (text_.size() < piece_size) text_.append(piece_buffer(), static_cast<std::size_t>(size));
    return;
  }
  loop_.forget(output_.get());
  child_ = 0;
  auto found = found_;  // may destroy this
  found(addresses_of_getent(text_), "");
}

}  // namespace attest::agent
