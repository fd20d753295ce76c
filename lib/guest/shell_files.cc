// Files and trees over a shell, where there is no agent: in chunks of base64, trees as tar files.
#include "attest/backend.h"
#include "lib/base/text.h"
#include "lib/guest/shell_guest.h"
#include "lib/guest/words.h"
#include "lib/proto/tar.h"

#include <algorithm>
#include <cstdio>
#include <optional>

namespace attest::guest {
namespace {

using Kind = Error::Kind;
using proto::TreeEntry;

constexpr std::size_t chunk = 192 << 10;       // of the bytes for one input line
constexpr std::size_t small_chunk = 24 << 10;  // where a shell reads its script in blocks
constexpr std::size_t out_chunk = 8 << 20;     // of a tar file on its way out

// Removes a file of the guest when the call that made it does not get to its end.
Task<void> remove(std::shared_ptr<ShellChannel> channel, std::string path, Deadline deadline) {
  try {
    std::string text = "rm -f " + base::shell_quote(path);
    co_await ask(channel, text, deadline.earlier(Deadline::after(std::chrono::seconds(5))));
  } catch (const Error&) {  // the failure before this one is what matters
  }
}

// The root's kind decides how the tar file lies in the guest.
struct Place {
  std::string folder;  // where tar starts
  std::string prefix;  // of names in the tar file: "." for a directory's content
};

Place place_of(const std::string& path, bool directory) {
  if (directory) return {path, "."};
  auto slash = path.find_last_not_of('/');
  auto clean = path.substr(0, slash + 1);
  auto last = clean.rfind('/');
  return {last == 0 ? "/" : clean.substr(0, last), clean.substr(last + 1)};
}

// A tar file for the tree, appended piece by piece to `file` of the guest.
Task<bool> pack_into(std::shared_ptr<ShellChannel> channel, TreeSource& tree, std::string path,
                     std::string file, Deadline deadline) {
  std::string pending;
  std::optional<Place> place;
  bool directory = false;
  while (auto entry = tree.next()) {
    if (!place) {
      directory = entry->type == TreeEntry::Type::directory;
      place = place_of(path, directory);
    }
    auto name = entry->path.empty() ? place->prefix : place->prefix + "/" + entry->path;
    pending += proto::tar_entry(*entry, name);
    std::uint64_t at = 0;
    auto zeros_to = [&](std::uint64_t end) -> bool {
      auto count = std::min<std::uint64_t>(end - at, chunk);
      pending.append(count, '\0');
      at += count;
      return at < end;
    };
    bool file_left = entry->type == TreeEntry::Type::file;
    while (file_left) {
      auto data = tree.read();
      const auto next = data ? data->offset : entry->size;
      for (bool more = at < next; more; more = zeros_to(next))
        if (pending.size() >= chunk) {
          co_await append(channel, file, pending, deadline);
          pending.clear();
        }
      if (data) {
        pending += data->bytes;
        at += data->bytes.size();
      }
      file_left = data.has_value();
      if (pending.size() < chunk) continue;
      co_await append(channel, file, pending, deadline);
      pending.clear();
    }
    pending.append(proto::tar_padding(at), '\0');
  }
  pending += proto::tar_end();
  co_await append(channel, file, pending, deadline);
  co_return directory;
}

struct Give {
  TreeSink& sink;
  void operator()(const TreeEntry& entry) const { sink.entry(entry); }
  void operator()(const proto::TreeData& data) const { sink.data(data); }
  void operator()(const proto::TreeFileEnd&) const { sink.file_end(); }
  void operator()(const proto::TreeEnd&) const {}
};

Task<void> unpack_from(std::shared_ptr<ShellChannel> channel, std::string file, std::uint64_t size,
                       TreeSink& sink, Deadline deadline) {
  proto::TarDecoder decoder;
  for (std::uint64_t at = 0; at < size && !decoder.ended();) {
    std::string text = "tail -c +" + std::to_string(at + 1) + " " + base::shell_quote(file) +
                       "|head -c " + std::to_string(out_chunk);
    auto bytes = co_await ask(channel, text, deadline);
    if (bytes.empty()) break;
    at += bytes.size();
    decoder.feed(bytes);
    while (auto event = decoder.next()) std::visit(Give{sink}, *event);
    if (!decoder.broken().empty())
      throw Error(Kind::guest,
                  "the guest's tar made a file that cannot be read: " + decoder.broken());
  }
  if (!decoder.ended()) throw Error(Kind::guest, "the guest's tar file is not whole");
}

}  // namespace

Task<void> append(std::shared_ptr<ShellChannel> channel, std::string path, std::string_view bytes,
                  Deadline deadline) {
  co_await channel->wait_ready(deadline);
  const bool bash = channel->kind() == proto::ShellKind::bash;
  while (!bytes.empty()) {
    auto part = bytes.substr(0, bash ? chunk : small_chunk);
    bytes.remove_prefix(part.size());
    if (!bash) {
      std::string text = "base64 -d >>" + base::shell_quote(path) + " <<_end\n" +
                         proto::shell_base64(part) + "\n_end";
      co_await ask(channel, text, deadline);
      continue;
    }
    co_await channel->wait_ready(deadline);
    auto run = channel->begin_input(base::shell_quote(path), part);
    co_await ShellChannel::wait_ended(run, deadline);
    if (run->failure) throw *run->failure;
    if (!run->frame) throw Error(Kind::timeout, "the guest's shell did not take the bytes in time");
    if (run->frame->code != 0)
      throw Error(Kind::guest, "the guest cannot write '" + base::printable(path) + "'")
          .hint("it may be out of space, or lack head or base64");
  }
}

Task<std::string> ShellGuest::read_file(std::string path, Deadline deadline) {
  const auto channel = channel_;
  check_path(path);
  try {
    if (files_) co_return co_await files_->get(path, deadline);
    std::string text = "p=" + base::shell_quote(path) +
                       "\n[ ! -d \"$p\" ]||{ echo 'it is a directory' >&2;exit 1;}\n"
                       "s=$(wc -c <\"$p\")||exit 1\n[ $s -le " +
                       std::to_string(read_limit) +
                       " ]||{ echo 'it has more than 64 MiB' >&2;exit 1;}\ncat <\"$p\"";
    co_return co_await ask(channel, text, deadline);
  } catch (Error& error) {
    error.during("reading file '" + base::printable(path) + "' of the guest");
    throw;
  }
}

Task<void> ShellGuest::write_file(std::string path, std::string bytes, unsigned mode,
                                  Deadline deadline) {
  const auto channel = channel_;
  check_path(path);
  std::string temporary;
  std::optional<Error> failure;
  try {
    if (files_) {
      co_await files_->put(path, std::move(bytes), mode, deadline);
      co_return;
    }
    std::string make = "p=" + base::shell_quote(path) +
                       "\n[ ! -d \"$p\" ]||{ echo 'it is a directory' >&2;exit 1;}\n"
                       "d=${p%/*}/;mkdir -p \"$d\"&&mktemp \"$d.attest-XXXXXX\"";
    temporary = co_await ask(channel, make, deadline);
    if (temporary.ends_with('\n')) temporary.pop_back();
    co_await append(channel, temporary, bytes, deadline);
    char octal[16];
    std::snprintf(octal, sizeof octal, "%o", mode & 07777);
    std::string move = "t=" + base::shell_quote(temporary) + "\n[ \"$(cksum <\"$t\")\" = '" +
                       std::to_string(proto::shell_checksum(bytes)) + " " +
                       std::to_string(bytes.size()) +
                       "' ]||{ echo 'it was damaged on its way into the guest' >&2;exit 1;}\n"
                       "chmod " +
                       octal + " \"$t\"&&mv -f \"$t\" " + base::shell_quote(path);
    co_await ask(channel, move, deadline);
  } catch (Error& error) {
    error.during("writing file '" + base::printable(path) + "' in the guest");
    failure = error;
  }
  if (!failure) co_return;
  if (!temporary.empty()) co_await remove(channel, temporary, deadline);
  throw *failure;
}

Task<void> ShellGuest::send_tree(TreeSource& tree, std::string path, Deadline deadline) {
  const auto channel = channel_;
  check_path(path);
  std::string file;
  std::optional<Error> failure;
  try {
    std::string make =
        "command -v tar >/dev/null||{ echo 'the guest has no tar' >&2;exit 1;}\nmktemp";
    file = co_await ask(channel, make, deadline);
    file = base::trim(file);
    const bool directory = co_await pack_into(channel, tree, path, file, deadline);
    auto place = place_of(path, directory);
    // A symlink at the root's place is followed, as with every other path that a test names.
    std::string text = "mkdir -p " + base::shell_quote(place.folder) + "&&tar -C " +
                       base::shell_quote(place.folder) + " -xpf " + base::shell_quote(file) +
                       "&&rm -f " + base::shell_quote(file);
    co_await ask(channel, text, deadline);
  } catch (Error& error) {
    error.during("copying to '" + base::printable(path) + "' in the guest");
    failure = error;
  }
  if (!failure) co_return;
  if (!file.empty()) co_await remove(channel, file, deadline);
  throw *failure;
}

Task<void> ShellGuest::fetch_tree(std::string path, TreeSink& sink, Deadline deadline) {
  const auto channel = channel_;
  check_path(path);
  auto place = place_of(path, false);
  std::string file;
  std::optional<Error> failure;
  try {
    std::string make =
        "command -v tar >/dev/null||{ echo 'the guest has no tar' >&2;exit 1;}\np=" +
        base::shell_quote(path) +
        "\n[ -e \"$p\" ]||[ -L \"$p\" ]||{ echo 'it does not exist' >&2;exit 1;}\nt=$(mktemp)\n"
        "h=;tar --help 2>&1|grep -q -e --hard-dereference&&h=--hard-dereference\n"
        "if [ -d \"$p\" ];then tar -C \"$p\" $h -cf $t .;else tar -C " +
        base::shell_quote(place.folder) + " $h -cf $t " + base::shell_quote("./" + place.prefix) +
        ";fi\n[ $? -le 1 ]||{ rm -f $t;exit 1;}\nwc -c <$t;echo $t";
    auto made = co_await ask(channel, make, deadline);
    auto lines = base::split(made, '\n');
    if (lines.size() < 2) throw Error(Kind::guest, "the guest's tar said nothing");
    file = lines[1];
    co_await unpack_from(channel, file, std::stoull(std::string(base::trim(lines[0]))), sink,
                         deadline);
  } catch (Error& error) {
    error.during("copying '" + base::printable(path) + "' from the guest");
    failure = error;
  }
  if (!file.empty()) co_await remove(channel, file, deadline);
  if (failure) throw *failure;
}

}  // namespace attest::guest
