// Firecracker's log and its metrics file.
#pragma once
#include "lib/base/fd.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace attest::sims::firecracker {

/// Lines "2026-11-23T19:00:00.000000000 [ID:main] text". On stdout until there is a file.
class Log {
 public:
  explicit Log(std::string id) : id_(std::move(id)) {}
  /// The body of PUT /logger. Throws Fault.
  void configure(const nlohmann::json& body);
  void info(const std::string& text) { write(3, text); }
  void warn(const std::string& text) { write(2, text); }
  void error(const std::string& text) { write(1, text); }

 private:
  void write(int level, const std::string& text);

  std::string id_;
  int most_ = 3;  ///< 0 off, 1 error, 2 warn, 3 info, 4 debug, 5 trace
  bool show_level_ = false, show_origin_ = false;
  base::Fd file_;
};

/// A line of JSON at each flush.
class Metrics {
 public:
  /// Throws Fault: once only.
  void open(const std::string& path, std::optional<std::string> id, nlohmann::json properties);
  void count(const std::string& group, const std::string& name) { ++counts_[group][name]; }
  /// Nothing without a file.
  void flush();

 private:
  base::Fd file_;
  std::optional<std::string> id_;
  nlohmann::json properties_;
  std::map<std::string, std::map<std::string, int>> counts_;
};

}  // namespace attest::sims::firecracker
