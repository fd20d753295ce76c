#include "tests/sims/common/http_parser.h"

#include "lib/base/text.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace attest::sims {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char byte) { return static_cast<char>(std::tolower(byte)); });
  return result;
}

}  // namespace

bool HttpParser::take_line(std::string& line) {
  auto end = pending_.find("\r\n");
  if (end == std::string::npos || end + 2 > longest_line) {
    if (pending_.size() >= longest_line)
      error_ = state_ == State::request_line
                   ? "Invalid request."
                   : "Invalid header. Reason: Invalid content length. Header: " +
                         pending_.substr(0, longest_line);
    return false;
  }
  line = pending_.substr(0, end);
  pending_.erase(0, end + 2);
  return true;
}

void HttpParser::read_request_line(const std::string& line) {
  auto words = base::split(line, ' ');
  method_ = words[0];
  target_ = words.size() > 1 ? words[1] : "";
  body_.clear();
  length_ = 0;
  expect_ = false;
  if (words.size() != 3)
    error_ = "Invalid request.";
  else if (method_ != "GET" && method_ != "PUT" && method_ != "PATCH" && method_ != "DELETE")
    error_ = "Invalid HTTP Method: Unsupported HTTP method.";
  else if (target_.empty())
    error_ = "Invalid URI: Empty URI not allowed.";
  else if (words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0")
    error_ = "Invalid HTTP Version: Unsupported HTTP version.";
  if (target_.starts_with("http://")) {
    auto slash = target_.find('/', 7);
    target_ = slash == std::string::npos ? "" : target_.substr(slash);
  }
}

void HttpParser::read_header(const std::string& line) {
  auto colon = line.find(':');
  if (colon == std::string::npos) {
    error_ = "Invalid header. Reason: Header is incorrectly formatted. Key: " + line;
    return;
  }
  std::string name = lower(base::trim(line.substr(0, colon)));
  std::string value(base::trim(line.substr(colon + 1)));
  if (name == "content-length") {
    std::uint32_t length = 0;
    auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (code != std::errc() || end != value.data() + value.size())
      error_ = "Invalid header. Reason: Invalid value. Key:Content-Length; Value:" + value;
    length_ = length;
  } else if (name == "expect") {
    expect_ = value == "100-continue";
  }
}

HttpParser::Step HttpParser::fail(std::string text) {
  error_ = std::move(text);
  pending_.clear();
  state_ = State::request_line;
  return Step::error;
}

HttpParser::Step HttpParser::next() {
  error_.clear();
  std::string line;
  while (state_ != State::body) {
    if (!take_line(line)) return error_.empty() ? Step::more : fail(error_);
    if (state_ == State::request_line) {
      read_request_line(line);
      state_ = State::headers;
    } else if (!line.empty()) {
      read_header(line);
    } else {
      if (length_ > limit_)
        return fail("Request payload with size " + std::to_string(length_) +
                    " is larger than the limit of " + std::to_string(limit_) +
                    " allowed by server.");
      state_ = State::body;
      if (expect_ && length_ > 0) return Step::continue_first;
    }
    if (!error_.empty()) return fail(error_);
  }
  if (pending_.size() < length_) return Step::more;
  body_ = pending_.substr(0, length_);
  pending_.erase(0, length_);
  state_ = State::request_line;
  return Step::request;
}

}  // namespace attest::sims
