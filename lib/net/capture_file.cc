#include "lib/net/capture_file.h"

#include "lib/base/sys_error.h"
#include "lib/net/pcapng.h"

#include <fcntl.h>
#include <unistd.h>

#include <system_error>
#include <utility>

namespace attest::net {
namespace {

constexpr std::size_t enough_to_write = 65'536;

base::Fd create(const std::filesystem::path& path) {
  std::string attempt = "making the capture '" + path.string() + "'";
  std::error_code code;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), code);
  if (code) throw base::sys_error(attempt, code.value());
  // Not cut to nothing: who reads the old one, or still writes it, keeps what it has.
  if (std::filesystem::is_regular_file(std::filesystem::symlink_status(path, code)))
    std::filesystem::remove(path, code);
  // Nor does a pipe that nobody reads stop the loop.
  constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  return base::Fd(base::check(::open(path.c_str(), flags, 0644), attempt));
}

}  // namespace

CaptureFile::CaptureFile(std::filesystem::path path, const Plan& plan, int vlan)
    : path_(std::move(path)), plan_(plan), vlan_(vlan), file_(create(path_)) {
  pcapng::append_section(buffer_, "attest");
  std::map<int, const Node*> by_number;
  for (auto& [name, node] : plan_.nodes) by_number.emplace(node.number, &node);
  for (auto& [number, node] : by_number)
    for (auto& nic : node->nics)
      if (nic.vlan == vlan_) interface_of(number);
  interface_of(test_process_node);
  flush();
  if (failure_) throw *failure_;
}

CaptureFile::~CaptureFile() { flush(); }

void CaptureFile::see(const Seen& seen) {
  if (!file_) return;
  auto interface = interface_of(seen.from);
  comment_ = station(seen.from).name;
  comment_ += " -> ";
  comment_ += seen.to == 0 ? "all" : station(seen.to).name;
  if (*seen.fault) comment_.append(", lost: ").append(seen.fault);
  pcapng::append_packet(
      buffer_, {.interface = interface, .at = seen.at, .frame = seen.frame, .comment = comment_});
  ++frames_;
  if (buffer_.size() >= enough_to_write) flush();
}

void CaptureFile::flush() noexcept {
  std::string_view rest = buffer_;
  while (file_ && !rest.empty()) {
    auto count = ::write(file_.get(), rest.data(), rest.size());
    if (count > 0) {
      rest.remove_prefix(static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      return give_up(count == 0 ? ENOSPC : errno, buffer_.size() - rest.size());
    }
  }
  flushed_bytes_ += buffer_.size();
  flushed_frames_ = frames_;
  buffer_.clear();
}

void CaptureFile::finish() {
  flush();
  // Some file systems say only now that there was no room.
  if (int file = file_.release(); file >= 0 && ::close(file) < 0 && errno != EINTR)
    failure_ = base::sys_error("writing the capture '" + path_.string() + "'");
  if (failure_) throw *failure_;
}

// The last write ended after `written` bytes of the buffer, probably inside a block.
void CaptureFile::give_up(int code, std::size_t written) noexcept {
  auto whole = pcapng::whole_blocks(std::string_view(buffer_).substr(0, written));
  // Fails for what is no regular file, which has no such end either.
  [[maybe_unused]] int ignored =
      ::ftruncate(file_.get(), static_cast<off_t>(flushed_bytes_ + whole.bytes));
  frames_ = flushed_frames_ + whole.packets;
  file_.reset();
  buffer_ = {};
  failure_ = base::sys_error("writing the capture '" + path_.string() + "'", code)
                 .hint("it is whole up to its frame " + std::to_string(frames_.load()) +
                       "; what passed later is not in it");
}

CaptureFile::Station& CaptureFile::station(Member member) {
  if (auto known = stations_.find(member); known != stations_.end()) return known->second;
  if (member == 0) return stations_[0] = {.name = "(unknown)"};
  Station fresh{.name = "node " + std::to_string(member)};  // what the plan does not have
  bool named = member == test_process_node;
  if (named) fresh.name = test_process;
  for (auto& [name, node] : plan_.nodes)
    if (node.number == member) fresh.name = name, named = true;
  if (named) {
    auto nic = make_nic(vlan_, member);
    fresh.description = "VLAN " + std::to_string(vlan_) + ", " + nic.ipv4 + ", " + nic.mac;
  }
  return stations_[member] = fresh;
}

std::uint32_t CaptureFile::interface_of(Member member) {
  auto& known = station(member);
  if (!known.interface) {
    pcapng::append_interface(buffer_, known.name, known.description);
    known.interface = interfaces_++;
  }
  return *known.interface;
}

}  // namespace attest::net
