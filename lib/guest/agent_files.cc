// Files and trees over attest-agent.
#include "lib/async/within.h"
#include "lib/base/text.h"
#include "lib/guest/agent_guest.h"
#include "lib/guest/words.h"

namespace attest::guest {
namespace {

using Kind = Error::Kind;
using proto::AgentFields;

Error too_large(const std::string& path) {
  return Error(Kind::guest, "file '" + base::printable(path) + "' has more than 64 MiB")
      .hint("copy_from_machine() takes files of any size");
}

Task<std::string> read_whole(std::shared_ptr<proto::Agent> agent, std::string path) {
  AgentFields fields{{"op", "read"}, {"path", path}};
  fields.add("limit", static_cast<std::int64_t>(read_limit + 1));
  auto stream = agent->open(fields);
  std::string content;
  for (;;) {
    auto news = co_await stream->next();
    if (std::holds_alternative<proto::AgentDone>(*news)) co_return content;
    if (auto* event = std::get_if<proto::AgentEvent>(&*news)) {
      auto size = event->fields.number("size").value_or(0);
      if (size > static_cast<std::int64_t>(read_limit)) throw too_large(path);
      content.reserve(static_cast<std::size_t>(std::max<std::int64_t>(size, 0)));
    }
    if (auto* data = std::get_if<proto::AgentData>(&*news)) content += data->bytes;
    if (content.size() > read_limit) throw too_large(path);
  }
}

// The agent's answer to what was sent to it.
Task<void> answer(std::shared_ptr<proto::AgentStream> stream) {
  for (;;) {
    auto news = co_await stream->next();
    if (std::holds_alternative<proto::AgentDone>(*news)) co_return;
  }
}

Task<void> write_whole(std::shared_ptr<proto::Agent> agent, AgentFields fields, std::string bytes) {
  std::shared_ptr<proto::AgentStream> stream = agent->open(fields);
  co_await stream->write(bytes);
  stream->end();
  co_await answer(stream);
}

Task<void> send(std::shared_ptr<proto::Agent> agent, TreeSource* tree, std::string path) {
  AgentFields fields{{"op", "unpack"}, {"path", path}, {"parents", "1"}};
  std::shared_ptr<proto::AgentStream> stream = agent->open(fields);
  std::string record;
  while (auto entry = tree->next()) {
    record = proto::tree_entry(*entry);
    co_await stream->write(record);
    if (entry->type != proto::TreeEntry::Type::file) continue;
    while (auto data = tree->read()) {
      record = proto::tree_data_head(data->offset, static_cast<std::uint32_t>(data->bytes.size()));
      co_await stream->write(record);
      co_await stream->write(data->bytes);
    }
    record = proto::tree_file_end();
    co_await stream->write(record);
  }
  record = proto::tree_end();
  co_await stream->write(record);
  stream->end();
  co_await answer(stream);
}

struct Give {
  TreeSink& sink;
  void operator()(const proto::TreeEntry& entry) const { sink.entry(entry); }
  void operator()(const proto::TreeData& data) const { sink.data(data); }
  void operator()(const proto::TreeFileEnd&) const { sink.file_end(); }
  void operator()(const proto::TreeEnd&) const {}
};

Task<void> fetch(std::shared_ptr<proto::Agent> agent, std::string path, TreeSink* sink) {
  auto stream = agent->open({{"op", "pack"}, {"path", path}});
  stream->widen(proto::agent_tree_window);
  proto::TreeDecoder decoder;
  for (;;) {
    auto news = co_await stream->next();
    if (std::holds_alternative<proto::AgentDone>(*news)) break;
    auto* data = std::get_if<proto::AgentData>(&*news);
    if (!data) continue;
    decoder.feed(data->bytes);
    while (auto event = decoder.next()) std::visit(Give{*sink}, *event);
    if (!decoder.broken().empty())
      throw Error(Kind::protocol, "the guest sent no tree of files: " + decoder.broken());
  }
  if (!decoder.ended()) throw Error(Kind::protocol, "the guest did not send the whole tree");
}

}  // namespace

Task<std::string> AgentGuest::read_file(std::string path, Deadline deadline) {
  check_path(path);
  const auto step = "reading file '" + base::printable(path) + "' of the guest";
  try {
    co_return co_await async::within(deadline, step, read_whole(agent_, path));
  } catch (Error& error) {
    if (error.kind() != Kind::timeout) error.during(step);
    throw;
  }
}

Task<void> AgentGuest::write_file(std::string path, std::string bytes, unsigned mode,
                                  Deadline deadline) {
  check_path(path);
  const auto step = "writing file '" + base::printable(path) + "' in the guest";
  char octal[16];
  std::snprintf(octal, sizeof octal, "%o", mode);
  AgentFields fields{{"op", "write"}, {"path", path}, {"mode", octal}, {"parents", "1"}};
  try {
    co_await async::within(deadline, step, write_whole(agent_, fields, std::move(bytes)));
  } catch (Error& error) {
    if (error.kind() != Kind::timeout) error.during(step);
    throw;
  }
}

Task<void> AgentGuest::send_tree(TreeSource& tree, std::string path, Deadline deadline) {
  check_path(path);
  const auto step = "copying to '" + base::printable(path) + "' in the guest";
  try {
    co_await async::within(deadline, step, send(agent_, &tree, path));
  } catch (Error& error) {
    if (error.kind() != Kind::timeout) error.during(step);
    throw;
  }
}

Task<void> AgentGuest::fetch_tree(std::string path, TreeSink& sink, Deadline deadline) {
  check_path(path);
  const auto step = "copying '" + base::printable(path) + "' from the guest";
  try {
    co_await async::within(deadline, step, fetch(agent_, path, &sink));
  } catch (Error& error) {
    if (error.kind() != Kind::timeout) error.during(step);
    throw;
  }
}

}  // namespace attest::guest
