// What Cloud Hypervisor answers to a request that it refuses.
#pragma once
#include <nlohmann/json.hpp>

#include <exception>
#include <string>
#include <vector>

namespace attest::sims::cloud_hypervisor {

using nlohmann::json;

/// A status and a chain of causes, outermost first: the body is an array of these texts.
class Refusal : public std::exception {
 public:
  Refusal(int status, std::vector<std::string> causes)
      : status_(status), causes_(std::move(causes)) {
    for (auto& cause : causes_) text_ += (text_.empty() ? "" : ": ") + cause;
  }
  const char* what() const noexcept override { return text_.c_str(); }
  int status() const noexcept { return status_; }
  std::string body() const {
    std::vector<std::string> chain = {"Error from API"};
    chain.insert(chain.end(), causes_.begin(), causes_.end());
    return json(chain).dump();
  }

 private:
  int status_;
  std::vector<std::string> causes_;
  std::string text_;
};

/// The original's word for most of them: 500.
inline Refusal failed(std::vector<std::string> causes) { return {500, std::move(causes)}; }
/// "No such file or directory (os error 2)".
std::string os_error(int code);

}  // namespace attest::sims::cloud_hypervisor
