#include "tests/unit/agent/fake_systemd.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "guest/agent/dbus.h"

namespace attest::agent_test {
namespace {

using namespace std::chrono_literals;

std::uint32_t number_at(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, 4);
  return value;
}

std::string message(int type, std::uint32_t serial, const DbusWriter& fields,
                    std::string_view body) {
  DbusWriter whole;
  whole.byte('l').byte(type).byte(1).byte(1);
  whole.number(static_cast<std::uint32_t>(body.size())).number(serial);
  whole.number(static_cast<std::uint32_t>(fields.bytes.size()));
  whole.bytes += fields.bytes;
  whole.pad(8);
  return whole.bytes + std::string(body);
}

void add_field(DbusWriter& fields, int code, std::string_view type, std::string_view value) {
  fields.pad(8).byte(code).signature(type);
  if (type == "g") {
    fields.signature(value);
  } else {
    fields.text(value);
  }
}

void add_variant(DbusWriter& to, std::string_view property, std::string_view value) {
  bool digits = !value.empty() && value.find_first_not_of("0123456789") == value.npos;
  if (property == "Job") {
    to.signature("(uo)").pad(8).number(static_cast<std::uint32_t>(std::stoul(std::string(value))));
    to.text(value == "0" ? "/" : "/org/freedesktop/systemd1/job/" + std::string(value));
  } else if (digits) {
    to.signature("t").long_number(std::stoull(std::string(value)));
  } else {
    to.signature("s").text(value);
  }
}

}  // namespace

DbusWriter& DbusWriter::byte(int value) {
  bytes += static_cast<char>(value);
  return *this;
}
DbusWriter& DbusWriter::pad(std::size_t multiple) {
  bytes.resize((bytes.size() + multiple - 1) / multiple * multiple);
  return *this;
}
DbusWriter& DbusWriter::number(std::uint32_t value) {
  pad(4);
  for (int i = 0; i < 4; ++i) byte(static_cast<int>(value >> (8 * i) & 0xff));
  return *this;
}
DbusWriter& DbusWriter::long_number(std::uint64_t value) {
  pad(8);
  for (int i = 0; i < 8; ++i) byte(static_cast<int>(value >> (8 * i) & 0xff));
  return *this;
}
DbusWriter& DbusWriter::text(std::string_view value) {
  number(static_cast<std::uint32_t>(value.size()));
  bytes.append(value) += '\0';
  return *this;
}
DbusWriter& DbusWriter::signature(std::string_view value) {
  byte(static_cast<int>(value.size()));
  bytes.append(value) += '\0';
  return *this;
}

FakeSystemd::FakeSystemd(const std::string& directory) {
  std::filesystem::create_directories(directory + "/systemd/system");
  listener_ = base::listen_unix(directory + "/systemd/private");
  thread_ = std::thread([this] { serve(); });
}

FakeSystemd::~FakeSystemd() {
  stop_ = true;
  thread_.join();
  drop();
}

void FakeSystemd::set(std::string_view property, std::string_view value) {
  std::lock_guard lock(mutex_);
  properties_[std::string(property)] = value;
}

void FakeSystemd::refuse(std::string_view error, std::string_view text) {
  std::lock_guard lock(mutex_);
  error_ = error;
  error_text_ = text;
}

void FakeSystemd::drop() {
  std::lock_guard lock(mutex_);
  for (auto& [fd, bytes] : connections_) close(fd);
  connections_.clear();
}

std::vector<std::string> FakeSystemd::calls() {
  std::lock_guard lock(mutex_);
  return calls_;
}

bool FakeSystemd::wait_calls(std::size_t count) {
  for (int i = 0; i < 1000 && calls().size() < count; ++i) std::this_thread::sleep_for(10ms);
  return calls().size() >= count;
}

void FakeSystemd::serve() {
  while (!stop_) {
    std::vector<pollfd> ready{{listener_.get(), POLLIN, 0}};
    {
      std::lock_guard lock(mutex_);
      for (auto& [fd, bytes] : connections_) ready.push_back({fd, POLLIN, 0});
    }
    poll(ready.data(), ready.size(), 5);
    std::lock_guard lock(mutex_);
    if (ready[0].revents) connections_[accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)];
    for (auto& item : ready) {
      auto found = connections_.find(item.fd);
      if (!item.revents || found == connections_.end()) continue;
      char buffer[4096];
      auto size = recv(item.fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (size <= 0) {
        close(item.fd);
        connections_.erase(found);
        continue;
      }
      auto& bytes = found->second;
      bytes.append(buffer, static_cast<std::size_t>(size));
      if (bytes[0] == '\0') {
        // What comes together with this is never looked at, as by systemd 252.
        if (!bytes.ends_with("\r\nBEGIN\r\n")) continue;
        bytes.clear();
        send(item.fd, "OK 0123\r\n", 9, MSG_NOSIGNAL);
      }
      while (bytes.size() >= 16) {
        auto total = (16 + number_at(bytes, 12) + 7) / 8 * 8 + number_at(bytes, 4);
        if (bytes.size() < total) break;
        answer(item.fd, std::string_view(bytes).substr(0, total));
        bytes.erase(0, total);
      }
    }
  }
}

void FakeSystemd::answer(int fd, std::string_view bytes) {
  agent::dbus::Decoder decoder;
  decoder.feed("OK\r\n");
  decoder.feed(bytes);
  auto call = decoder.next();
  if (!call) return;
  auto argument = std::string(call->text(call->member == "Get" ? 1 : 0));
  calls_.push_back(call->member + (argument.empty() ? "" : " " + argument));
  DbusWriter fields, body;
  fields.byte(5).signature("u").number(call->serial);
  auto property = properties_.find(argument);
  std::string error = call->member == "Get" || call->member == "Reload" ? "" : error_;
  if (call->member == "Get" && property == properties_.end()) error = "x.UnknownProperty";
  if (!error.empty()) {
    add_field(fields, 4, "s", error);
    add_field(fields, 8, "g", "s");
    body.text(error_text_);
  } else if (call->member == "Get") {
    add_field(fields, 8, "g", "v");
    add_variant(body, argument, property->second);
  } else if (call->member == "LoadUnit") {
    add_field(fields, 8, "g", "o");
    body.text(unit_path);
  }
  auto reply = message(error.empty() ? 2 : 3, 1, fields, body.bytes);
  send(fd, reply.data(), reply.size(), MSG_NOSIGNAL);
}

void FakeSystemd::signal(std::string_view path, std::string_view interface, std::string_view member,
                         std::string_view signature, const std::string& body) {
  DbusWriter fields;
  add_field(fields, 1, "o", path);
  add_field(fields, 2, "s", interface);
  add_field(fields, 3, "s", member);
  add_field(fields, 8, "g", signature);
  auto bytes = message(4, 7, fields, body);
  std::lock_guard lock(mutex_);
  for (auto& [fd, rest] : connections_) send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void FakeSystemd::tell(std::string_view active) {
  set("ActiveState", active);
  tell_changed("org.freedesktop.systemd1.Service", {"Result", "NRestarts"});
  tell_changed("org.freedesktop.systemd1.Unit", {"ActiveState", "SubState"});
}

void FakeSystemd::tell_changed(std::string_view interface,
                               const std::vector<std::string>& properties) {
  DbusWriter entries;
  for (auto& property : properties) {
    std::lock_guard lock(mutex_);
    entries.pad(8).text(property);
    add_variant(entries, property, properties_[property]);
  }
  DbusWriter body;
  body.text(interface).number(static_cast<std::uint32_t>(entries.bytes.size())).pad(8);
  // The entries' own alignment is kept: they begin at a multiple of 8.
  body.bytes += entries.bytes;
  body.number(0);
  signal(unit_path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body.bytes);
}

void FakeSystemd::tell_job_removed(std::string_view unit, std::string_view result) {
  DbusWriter body;
  body.number(7).text("/org/freedesktop/systemd1/job/7").text(unit).text(result);
  signal("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss",
         body.bytes);
}

void FakeSystemd::tell_unit_new(std::string_view unit) {
  DbusWriter body;
  body.text(unit).text(unit_path);
  signal("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "UnitNew", "so",
         body.bytes);
}

}  // namespace attest::agent_test
