#include "tests/sims/firecracker/log.h"

#include "tests/sims/firecracker/fault.h"

#include <fcntl.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <map>

namespace attest::sims::firecracker {
namespace {

const std::map<std::string, int> levels = {{"off", 0},  {"error", 1}, {"warn", 2}, {"warning", 2},
                                           {"info", 3}, {"debug", 4}, {"trace", 5}};

base::Fd open_nonblock(const std::string& path) {
  return base::Fd(::open(path.c_str(), O_CREAT | O_RDWR | O_NONBLOCK | O_CLOEXEC | O_APPEND, 0644));
}

}  // namespace

void Log::configure(const nlohmann::json& body) {
  int most = 3;
  if (body.contains("level")) {
    std::string level = body["level"];
    for (char& byte : level) byte = static_cast<char>(std::tolower(byte));
    auto found = levels.find(level);
    if (found == levels.end())
      throw Fault(
          "An error occurred when deserializing the json body of a request: Invalid LevelFilter.");
    most = found->second;
  }
  if (body.contains("log_path")) {
    base::Fd file = open_nonblock(body["log_path"].get<std::string>());
    if (!file) throw Fault("Logger error: Failed to open target file: " + os_error());
    file_ = std::move(file);
  }
  most_ = most;
  show_level_ = body.value("show_level", show_level_);
  show_origin_ = body.value("show_log_origin", show_origin_);
}

void Log::write(int level, const std::string& text) {
  if (level > most_) return;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm parts{};
  ::localtime_r(&now.tv_sec, &parts);
  std::array<char, 64> stamp{};
  std::size_t length = std::strftime(stamp.data(), stamp.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(stamp.data() + length, stamp.size() - length, ".%09ld", now.tv_nsec);
  static const std::array<const char*, 4> names = {"OFF", "ERROR", "WARN", "INFO"};
  std::string line =
      std::string(stamp.data()) + " [" + id_ + ":main" +
      (show_level_ ? std::string(":") + names[static_cast<std::size_t>(level)] : "") +
      (show_origin_ ? ":src/sim.rs:1" : "") + "] " + text + "\n";
  // What the reader does not take is lost, as it is there.
  [[maybe_unused]] auto written = ::write(file_ ? file_.get() : 1, line.data(), line.size());
}

void Metrics::open(const std::string& path, std::optional<std::string> id,
                   nlohmann::json properties) {
  std::string words = "Metrics error: Cannot initialize the metrics system due to bad user input: ";
  base::Fd file = open_nonblock(path);
  if (!file) throw Fault(words + os_error());
  if (file_) throw Fault(words + "Reinitialization of metrics not allowed.");
  file_ = std::move(file);
  id_ = std::move(id);
  properties_ = std::move(properties);
}

void Metrics::flush() {
  if (!file_) return;
  timeval now{};
  ::gettimeofday(&now, nullptr);
  nlohmann::json line = {{"utc_timestamp_ms", now.tv_sec * 1000 + now.tv_usec / 1000}};
  if (id_) line["id"] = *id_;
  if (!properties_.is_null()) line["properties"] = properties_;
  for (auto& [group, counts] : counts_) line[group] = counts;
  std::string text = line.dump() + "\n";
  [[maybe_unused]] auto written = ::write(file_.get(), text.data(), text.size());
  counts_.clear();
}

}  // namespace attest::sims::firecracker
