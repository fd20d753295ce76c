// Trees as bytes: what is sent comes out again however it is cut, and nothing hostile gets through.
#include "lib/proto/agent_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace attest::proto {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Type = TreeEntry::Type;

TreeEntry entry(Type type, std::string path, std::uint64_t size = 0) {
  return {type, std::move(path), 0644, size, 7, type == Type::symlink ? "/etc" : ""};
}
std::string directory(std::string path) { return tree_entry(entry(Type::directory, path)); }
std::string symlink(std::string path) { return tree_entry(entry(Type::symlink, path)); }
std::string empty_file(std::string path) {
  return tree_entry(entry(Type::file, path)) + tree_file_end();
}
std::string open_file(std::uint64_t size) {
  return directory("") + tree_entry(entry(Type::file, "f", size));
}
std::string piece(std::uint64_t offset, std::string_view bytes) {
  return tree_data_head(offset, static_cast<std::uint32_t>(bytes.size())) + std::string(bytes);
}

// All events in words, data joined, fed in pieces of `cut` bytes; the last word is what broke it.
std::vector<std::string> words(std::string_view bytes, std::size_t cut = 1 << 20) {
  TreeDecoder decoder;
  std::vector<std::string> found;
  std::uint64_t at = 0;
  while (!bytes.empty()) {
    decoder.feed(bytes.substr(0, cut));
    bytes.remove_prefix(std::min(cut, bytes.size()));
    while (auto event = decoder.next()) {
      if (auto* announced = std::get_if<TreeEntry>(&*event)) {
        found.push_back(static_cast<char>(announced->type) + (" " + announced->path));
        if (!announced->target.empty()) found.back() += " -> " + announced->target;
        at = 0;
      } else if (auto* data = std::get_if<TreeData>(&*event)) {
        if (!found.back().starts_with("data") || at != data->offset)
          found.push_back("data " + std::to_string(data->offset) + " ");
        found.back() += data->bytes;
        at = data->offset + data->bytes.size();
      } else {
        found.emplace_back(std::holds_alternative<TreeEnd>(*event) ? "end" : "file end");
      }
    }
  }
  if (!decoder.broken().empty()) found.push_back("broken: " + decoder.broken());
  return found;
}

const std::string sample = directory("") + directory("bin") +
                           tree_entry({Type::file, "bin/true", 04755, 100, 5, ""}) +
                           piece(0, "head") + piece(60, "tail") + tree_file_end() +
                           symlink("bin/sh") + empty_file("z") + tree_end();

TEST(Tree, ComesOutAsItWentInWhereverItIsCut) {
  auto whole = words(sample);
  EXPECT_THAT(whole, ElementsAre("d ", "d bin", "f bin/true", "data 0 head", "data 60 tail",
                                 "file end", "l bin/sh -> /etc", "f z", "file end", "end"));
  for (std::size_t cut = 1; cut < sample.size(); ++cut) EXPECT_EQ(words(sample, cut), whole) << cut;
}

TEST(Tree, KeepsEveryFieldOfAnEntry) {
  TreeEntry sent{Type::file, "", 07777, (std::uint64_t{1} << 63) - 1, -1'500'000'000, ""};
  TreeDecoder decoder;
  auto record = tree_entry(sent);
  decoder.feed(record);
  auto event = decoder.next();
  ASSERT_TRUE(event);
  EXPECT_EQ(std::get<TreeEntry>(*event), sent);
}

TEST(Tree, KeepsWhatWasNotTakenYet) {
  TreeDecoder decoder;
  auto bytes = sample;
  decoder.feed(bytes);
  ASSERT_TRUE(decoder.next());
  decoder.keep();
  bytes.assign(bytes.size(), 'x');
  int events = 1;
  while (decoder.next()) ++events;
  EXPECT_EQ(decoder.broken(), "");
  EXPECT_TRUE(decoder.ended());
  EXPECT_EQ(events, 10);
}

TEST(Tree, IsNeverWholeWhenItsEndIsMissing) {
  for (std::size_t size = 0; size < sample.size(); ++size) {
    auto found = words(std::string_view(sample).substr(0, size));
    EXPECT_FALSE(!found.empty() && found.back() == "end") << size;
  }
}

struct PathCase {
  const char* name;
  std::string path;
  bool ok;
};
class TreePath : public testing::TestWithParam<PathCase> {};

TEST_P(TreePath, IsOkOnlyIfItStaysBelowTheRoot) {
  EXPECT_EQ(tree_path_ok(GetParam().path), GetParam().ok);
  auto found = words(directory("") + empty_file(GetParam().path));
  EXPECT_EQ(found.back() == "file end", GetParam().ok) << found.back();
}

std::string deep(std::size_t components) {
  std::string path = "d";
  for (std::size_t i = 1; i < components; ++i) path += "/d";
  return path;
}

std::vector<PathCase> path_cases() {
  using namespace std::string_literals;
  return {{"a_name", "a", true},
          {"dots_in_a_name", "..a", true},
          {"three_dots", "...", true},
          {"newline_and_high_bytes", "a\n\xff", true},
          {"longest_name", std::string(255, 'x'), true},
          {"empty", "", false},
          {"dot", ".", false},
          {"dot_dot", "..", false},
          {"dot_dot_first", "../x", false},
          {"absolute", "/x", false},
          {"empty_part", "a//b", false},
          {"slash_at_the_end", "a/", false},
          {"nul", "a\0b"s, false},
          {"long_name", std::string(256, 'x'), false},
          {"five_thousand_bytes", std::string(5000, 'x'), false},
          {"sixty_thousand_bytes", std::string(60000, '/'), false}};
}
INSTANTIATE_TEST_SUITE_P(, TreePath, testing::ValuesIn(path_cases()),
                         [](const auto& row) { return row.param.name; });

TEST(TreePathDepth, HasAtMostSoManyParts) {
  EXPECT_TRUE(tree_path_ok(deep(tree_depth_limit)));
  EXPECT_FALSE(tree_path_ok(deep(tree_depth_limit + 1)));
  EXPECT_FALSE(tree_path_ok("a/../b"));
  EXPECT_FALSE(tree_path_ok("a/b/.."));
}

struct BadCase {
  const char* name;
  std::string bytes;
  const char* why;
};
class BadTree : public testing::TestWithParam<BadCase> {};

TEST_P(BadTree, IsRefusedWithWordsWhereverItIsCut) {
  auto whole = words(GetParam().bytes);
  EXPECT_THAT(whole.back(), HasSubstr(GetParam().why));
  EXPECT_THAT(whole.back(), HasSubstr("broken: "));
  EXPECT_EQ(words(GetParam().bytes, 1), whole);
}

std::vector<BadCase> bad_cases() {
  const auto root = directory("");
  auto with = [](TreeEntry changed) { return directory("") + tree_entry(changed); };
  auto no_target = entry(Type::symlink, "l");
  no_target.target.clear();
  auto mode = entry(Type::file, "m");
  mode.mode = 010000;
  auto target = entry(Type::file, "t");
  target.target = "x";
  auto nul = entry(Type::symlink, "l");
  nul.target = std::string("a\0b", 3);
  return {{"no_root", empty_file("a"), "not the root"},
          {"root_twice", root + root, "twice"},
          {"below_a_file_root", empty_file("") + empty_file("a"), "no directory"},
          {"below_a_symlink_root", symlink("") + empty_file("a"), "no directory"},
          {"below_a_symlink", root + symlink("l") + empty_file("l/x"), "not open"},
          {"below_a_symlink_later", root + symlink("l") + empty_file("b") + empty_file("l/x"),
           "not open"},
          {"below_a_directory_that_became_a_symlink",
           root + directory("d") + symlink("d") + empty_file("d/x"), "not open"},
          {"below_a_file", root + empty_file("f") + empty_file("f/x"), "not open"},
          {"below_what_was_never_announced", root + empty_file("d/x"), "not open"},
          {"below_a_directory_that_was_left",
           root + directory("a") + directory("b") + empty_file("a/x"), "not open"},
          {"a_name_that_only_begins_alike", root + directory("ab") + empty_file("a/x"), "not open"},
          {"data_outside_of_a_file", root + piece(0, "x"), "outside of a file"},
          {"file_end_outside_of_a_file", root + tree_file_end(), "did not begin"},
          {"entry_inside_of_a_file", open_file(1) + directory("d"), "inside of a file"},
          {"end_inside_of_a_file", open_file(1) + tree_end(), "in the middle"},
          {"end_of_nothing", tree_end(), "in the middle"},
          {"bytes_after_the_end", root + tree_end() + root, "after the tree's end"},
          {"overlap", open_file(9) + piece(0, "abc") + piece(2, "d"), "before the end"},
          {"backward", open_file(9) + piece(5, "a") + piece(0, "b"), "before the end"},
          {"beyond_the_end", open_file(3) + piece(2, "ab"), "beyond"},
          {"offset_that_wraps", open_file(3) + tree_data_head(~0ULL, 2), "beyond"},
          {"empty_piece", open_file(3) + tree_data_head(0, 0), "a piece of 0"},
          {"huge_piece", open_file(1ULL << 40) + tree_data_head(0, ~0U), "a piece of 4294967295"},
          {"size_of_2_to_the_63", with(entry(Type::file, "f", 1ULL << 63)), "size of"},
          {"directory_with_a_size", with(entry(Type::directory, "d", 1)), "size of"},
          {"mode_with_more_bits", with(mode), "mode"},
          {"symlink_to_nothing", with(no_target), "target"},
          {"file_with_a_target", with(target), "target"},
          {"target_with_nul", with(nul), "target"},
          {"no_record", "x", "begins no record"}};
}
INSTANTIATE_TEST_SUITE_P(, BadTree, testing::ValuesIn(bad_cases()),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace attest::proto
