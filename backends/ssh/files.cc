#include "backends/ssh/files.h"

#include "backends/ssh/channel.h"
#include "lib/async/within.h"
#include "lib/base/text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace attest::ssh {
namespace {

using Kind = Error::Kind;

constexpr std::size_t limit = 64 << 20;
constexpr std::size_t piece = 256 << 10;

// Runs `op` to its end whatever happens to the caller; its result or its exception is the caller's.
template <class T>
Task<T> shielded(asio::any_io_executor loop, Task<T> op) {
  struct State {
    explicit State(asio::any_io_executor where) : done(where) {}
    async::Event done;
    std::exception_ptr failure;
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> result;
  };
  auto state = std::make_shared<State>(loop);
  if constexpr (std::is_void_v<T>) {
    asio::co_spawn(loop, std::move(op), [state](std::exception_ptr failure) {
      state->failure = failure;
      state->done.set();
    });
  } else {
    asio::co_spawn(loop, std::move(op), [state](std::exception_ptr failure, T result) {
      state->failure = failure;
      state->result = std::move(result);
      state->done.set();
    });
  }
  co_await state->done.wait();
  if (state->failure) std::rethrow_exception(state->failure);
  if constexpr (!std::is_void_v<T>) co_return std::move(*state->result);
}

// $1 the path, $2 the mode.
constexpr std::string_view put_script = R"sh(
case $1 in /*/*) mkdir -p "${1%/*}"||exit;;esac
if [ -e "$1" ];then cat >"$1"&&chmod "$2" "$1"
else
umask 077
t=$(mktemp "$1.attest.XXXXXXXX")||exit
cat >"$t"&&chmod "$2" "$t"&&mv -f "$t" "$1"||{ rm -f "$t";exit 1;}
fi)sh";

std::string shell_command(std::string_view script, const std::vector<std::string>& arguments) {
  return "exec sh -c " + base::shell_quote(script) + " attest " + base::shell_join(arguments);
}

std::string octal(unsigned mode) {
  std::string text;
  for (; mode != 0; mode >>= 3) text.insert(text.begin(), static_cast<char>('0' + (mode & 7)));
  return text.empty() ? "0" : text;
}

Task<Output> run(std::shared_ptr<Session> session, std::string command, std::string input) {
  auto channel = co_await Channel::exec(std::move(session), std::move(command));
  co_return co_await channel->finish(std::move(input), limit + 1);
}

void check(const Output& output, const std::string& attempt) {
  if (output.ending.code == 0 && output.ending.signal.empty()) return;
  auto why = base::printable(base::trim(base::last_lines(output.err, 1)));
  throw Error(Kind::guest, attempt + ": " + (why.empty() ? "it " + output.ending.words() : why));
}

// libssh2 1.10 cannot be asked: it spins where a host refuses SFTP (its error path repeats a call
// that waits for the host), and waits for ever for a server program that is missing.
Task<bool> has_sftp(std::shared_ptr<Session> session) {
  std::shared_ptr<Channel> channel;
  try {
    channel = co_await Channel::subsystem(session, "sftp");
    constexpr std::string_view hello("\0\0\0\5\1\0\0\0\3", 9);  // SSH_FXP_INIT, version 3
    co_await channel->write(hello);
    std::array<char, 4> answer{};
    co_return co_await channel->read(Channel::standard_output, answer) > 0;
  } catch (const Error&) {
    if (session->lost()) throw;
  }
  co_return false;
}

Error too_big(const std::string& path) {
  return {Kind::guest, "'" + path + "' has more than 64 MiB"};
}

const char* status_words(unsigned long status) {
  switch (status) {
    case LIBSSH2_FX_NO_SUCH_FILE:
      return "no such file or directory";
    case LIBSSH2_FX_PERMISSION_DENIED:
      return "permission denied";
    case LIBSSH2_FX_FAILURE:
      return "the host's SFTP server says no more than 'failure'";
    case LIBSSH2_FX_OP_UNSUPPORTED:
      return "the host's SFTP server cannot do it";
    case LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM:
      return "no space left on device";
    case LIBSSH2_FX_WRITE_PROTECT:
      return "read-only file system";
    default:
      return nullptr;
  }
}

}  // namespace

Error Files::failure(const std::string& attempt) {
  if (libssh2_session_last_errno(session_->raw()) != LIBSSH2_ERROR_SFTP_PROTOCOL)
    return session_->failure(attempt);
  const auto status = libssh2_sftp_last_error(raw_);
  const char* words = status_words(status);
  return Error(Kind::guest,
               attempt + ": " + (words ? words : "SFTP status " + std::to_string(status)));
}

Task<void> Files::begin() {
  if (state_ != State::unknown) co_return;
  if (!co_await has_sftp(session_)) {
    state_ = State::refused;
    co_return;
  }
  auto channels = co_await session_->one_at_a_time().lock();
  auto step = [&] {
    raw_ = libssh2_sftp_init(session_->raw());
    return raw_ ? 0 : libssh2_session_last_errno(session_->raw());
  };
  if (co_await session_->repeat(step) != 0)
    throw session_->failure("starting SFTP on " + session_->peer());
  state_ = State::open;
}

Task<LIBSSH2_SFTP_HANDLE*> Files::open(std::string path, unsigned long flags, long mode) {
  LIBSSH2_SFTP_HANDLE* handle = nullptr;
  auto step = [&] {
    handle = libssh2_sftp_open_ex(raw_, path.data(), static_cast<unsigned>(path.size()), flags,
                                  mode, LIBSSH2_SFTP_OPENFILE);
    return handle ? 0 : libssh2_session_last_errno(session_->raw());
  };
  co_await session_->repeat(step);
  co_return handle;
}

Task<void> Files::close(LIBSSH2_SFTP_HANDLE* handle) {
  co_await session_->repeat([handle] { return libssh2_sftp_close_handle(handle); });
}

Task<bool> Files::exists(std::string path) {
  LIBSSH2_SFTP_ATTRIBUTES ignored{};
  auto step = [&] {
    return libssh2_sftp_stat_ex(raw_, path.data(), static_cast<unsigned>(path.size()),
                                LIBSSH2_SFTP_LSTAT, &ignored);
  };
  co_return co_await session_->repeat(step) == 0;
}

// Those that exist already, and those that cannot be made, show when the file is made.
Task<void> Files::make_parents(std::string path) {
  for (auto at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1)) {
    auto step = [&] {
      return libssh2_sftp_mkdir_ex(raw_, path.data(), static_cast<unsigned>(at), 0755);
    };
    co_await session_->repeat(step);
  }
}

Task<void> Files::put_by_sftp(std::string path, std::string bytes, unsigned mode) {
  const auto attempt = "writing '" + path + "' on " + session_->peer();
  const bool replaced = co_await exists(path);
  const std::string name = replaced ? path : path + ".attest." + base::random_hex(4);
  // A new name is nobody's: not a link that another user of the host has put there.
  const auto flags =
      LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | (replaced ? LIBSSH2_FXF_TRUNC : LIBSSH2_FXF_EXCL);
  auto* handle = co_await open(name, flags, 0600);
  if (!handle && !replaced && libssh2_sftp_last_error(raw_) == LIBSSH2_FX_NO_SUCH_FILE) {
    co_await make_parents(path);
    handle = co_await open(name, flags, 0600);
  }
  if (!handle) throw failure(attempt);
  std::optional<Error> failed;
  std::size_t at = 0;
  while (at < bytes.size() && !failed) {
    auto write = [&] {
      const auto size = std::min(bytes.size() - at, piece);
      return static_cast<int>(libssh2_sftp_write(handle, bytes.data() + at, size));
    };
    const int count = co_await session_->repeat(write);
    if (count < 0)
      failed = failure(attempt);
    else
      at += static_cast<std::size_t>(count);
  }
  LIBSSH2_SFTP_ATTRIBUTES attributes{};
  attributes.flags = LIBSSH2_SFTP_ATTR_PERMISSIONS;
  attributes.permissions = mode;
  auto set_mode = [&] { return libssh2_sftp_fstat_ex(handle, &attributes, 1); };
  if (!failed && co_await session_->repeat(set_mode) != 0) failed = failure(attempt);
  co_await close(handle);
  if (!replaced && !failed) {
    auto rename = [&] {
      return libssh2_sftp_rename_ex(raw_, name.data(), static_cast<unsigned>(name.size()),
                                    path.data(), static_cast<unsigned>(path.size()),
                                    LIBSSH2_SFTP_RENAME_OVERWRITE);
    };
    if (co_await session_->repeat(rename) != 0) failed = failure(attempt);
  }
  if (!failed) co_return;
  auto remove = [&] {
    return libssh2_sftp_unlink_ex(raw_, name.data(), static_cast<unsigned>(name.size()));
  };
  if (!replaced) co_await session_->repeat(remove);
  throw *failed;
}

Task<std::string> Files::get_by_sftp(std::string path) {
  const auto attempt = "reading '" + path + "' on " + session_->peer();
  auto* handle = co_await open(path, LIBSSH2_FXF_READ, 0);
  if (!handle) throw failure(attempt);
  std::string bytes;
  std::optional<Error> failed;
  std::vector<char> buffer(piece);
  for (;;) {
    auto read = [&] {
      return static_cast<int>(libssh2_sftp_read(handle, buffer.data(), buffer.size()));
    };
    const int count = co_await session_->repeat(read);
    if (count <= 0) {
      if (count < 0) failed = failure(attempt);
      break;
    }
    bytes.append(buffer.data(), static_cast<std::size_t>(count));
    if (bytes.size() <= limit) continue;
    failed = too_big(path);
    break;
  }
  co_await close(handle);
  if (failed) throw *failed;
  co_return bytes;
}

Task<void> Files::put_now(std::shared_ptr<Files> self, std::string path, std::string bytes,
                          unsigned mode) {
  auto lock = co_await self->alone_.lock();
  co_await self->begin();
  if (self->state_ == State::open) {
    co_await self->put_by_sftp(path, std::move(bytes), mode);
    co_return;
  }
  auto command = shell_command(put_script, {path, octal(mode)});
  auto output = co_await run(self->session_, std::move(command), std::move(bytes));
  check(output, "writing '" + path + "' on " + self->session_->peer());
}

Task<std::string> Files::get_now(std::shared_ptr<Files> self, std::string path) {
  auto lock = co_await self->alone_.lock();
  co_await self->begin();
  if (self->state_ == State::open) co_return co_await self->get_by_sftp(path);
  auto command = shell_command("exec cat \"$1\"", {path});
  auto output = co_await run(self->session_, std::move(command), {});
  check(output, "reading '" + path + "' on " + self->session_->peer());
  if (output.out.size() > limit) throw too_big(path);
  co_return std::move(output.out);
}

Task<void> Files::put(std::string path, std::string bytes, unsigned mode, Deadline deadline) {
  auto step = "writing '" + path + "'";
  auto work = put_now(shared_from_this(), std::move(path), std::move(bytes), mode);
  co_await async::within(deadline, step, shielded(session_->loop(), std::move(work)));
}

Task<std::string> Files::get(std::string path, Deadline deadline) {
  auto step = "reading '" + path + "'";
  auto work = get_now(shared_from_this(), std::move(path));
  co_return co_await async::within(deadline, step, shielded(session_->loop(), std::move(work)));
}

}  // namespace attest::ssh
