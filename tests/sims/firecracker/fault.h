// What Firecracker answers to a request that it refuses.
#pragma once
#include <cerrno>
#include <exception>
#include <string>
#include <utility>

namespace attest::sims::firecracker {

/// Status 400 with this text as fault_message.
class Fault : public std::exception {
 public:
  explicit Fault(std::string text, bool fatal = false) : text_(std::move(text)), fatal_(fatal) {}
  const char* what() const noexcept override { return text_.c_str(); }
  /// The process exits with code 1 after the answer.
  bool fatal() const noexcept { return fatal_; }

 private:
  std::string text_;
  bool fatal_;
};

/// "No such file or directory (os error 2)", in the words of musl, which the released binaries
/// have.
std::string os_error(int code = errno);

}  // namespace attest::sims::firecracker
