// Bytes into requests, as micro_http reads them. Pure.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace attest::sims {

class HttpParser {
 public:
  enum class Step {
    more,            ///< needs more bytes
    request,         ///< one whole request is in method(), target(), body()
    continue_first,  ///< the client waits for "100" before it sends the body
    error            ///< error() says what is wrong; what has come so far is forgotten
  };

  explicit HttpParser(std::size_t payload_limit) : limit_(payload_limit) {}
  void feed(std::string_view bytes) { pending_ += bytes; }
  Step next();

  const std::string& method() const noexcept { return method_; }
  const std::string& target() const noexcept { return target_; }
  const std::string& body() const noexcept { return body_; }
  const std::string& error() const noexcept { return error_; }

 private:
  /// The longest line, with its end; what it has for a buffer.
  static constexpr std::size_t longest_line = 1024;

  bool take_line(std::string& line);
  void read_request_line(const std::string& line);
  void read_header(const std::string& line);
  Step fail(std::string text);

  enum class State { request_line, headers, body };
  std::size_t limit_;
  State state_ = State::request_line;
  std::string pending_, method_, target_, body_, error_;
  std::size_t length_ = 0;
  bool expect_ = false;
};

}  // namespace attest::sims
