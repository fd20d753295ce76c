#include "lib/core/config_reference.h"

#include "lib/core/config_check.h"
#include "lib/core/config_table.h"
#include "lib/core/config_write.h"

namespace attest::core::config {
namespace {

constexpr std::string_view preface = R"(# Config reference

Made from the table in lib/core/config_table.h; `ATTEST_UPDATE_GOLDEN=1 unit_config` writes it anew.
[config.schema.json](config.schema.json) says the same to editors.

A config is one JSON object. Every key may be left out, except where the default is "required".
Unknown keys, keys given twice and comments are errors. Whole numbers are written as such: `60`, not
`6e1`, `60.0` or `"60"`; all times are in seconds. A file's relative paths are relative to the file
(an `image` or `qemu.binary` is a path if it has a slash; `~` is not expanded).

`--attest_set=machines.web.memory_mb=1024` sets one key on top. The value is JSON; where a string is
meant, its quotes may be left out: `machines.web.accel=tcg`, `machines.web.vlans=[1,2]`,
`machines.web.disks[0].read_only=true`, `machines.web.env.LANG=C`. A list or an object replaces what
was there: after `timeouts={"boot":60}` the other timeouts have their defaults. New entries can be
made in `env` and `credentials` only.
)";

template <class T>
struct ItemOf {
  using type = T;
  static constexpr std::string_view step = "";
};
template <List T>
struct ItemOf<T> {
  using type = typename T::value_type;
  static constexpr std::string_view step = "[]";
};
template <Map T>
struct ItemOf<T> {
  using type = typename T::mapped_type;
  static constexpr std::string_view step = ".NAME";
};

std::string code(const std::string& text) { return "`" + text + "`"; }

// What a value is, with what a map's keys are, which the messages do not need.
template <class T>
std::string kind_of(const Rule& rule) {
  if constexpr (Map<T>) {
    std::string text = "an object of ";
    text += Text<typename T::mapped_type> ? "strings" : "objects";
    return text;
  }
  return expected<T>(rule);
}

template <Object T>
void add_section(std::string& page, const std::string& path, std::string_view doc) {
  if (!path.empty()) page += "\n## " + code(path) + "\n\n" + std::string(doc) + "\n";
  page += "\n| key | value | default | |\n|---|---|---|---|\n";
  for_each_field<T>([&](const auto& field) {
    using V = std::remove_cvref_t<decltype(T{}.*field.member)>;
    std::string initial = field.rule.required ? "required" : "see below";
    if (!Object<V> && !field.rule.required) initial = code(write(T{}.*field.member).dump());
    page += "| " + code(std::string(field.name)) + " | " + kind_of<V>(field.rule) + " | " +
            initial + " | " + std::string(field.doc) + " |\n";
  });
  for_each_field<T>([&](const auto& field) {
    using V = std::remove_cvref_t<decltype(T{}.*field.member)>;
    using Item = typename ItemOf<V>::type;
    if constexpr (Object<Item>)
      add_section<Item>(page, child(path, field.name) + std::string(ItemOf<V>::step), field.doc);
  });
}

}  // namespace

std::string reference_page() {
  std::string page(preface);
  add_section<Config>(page, "", "");
  return page;
}

}  // namespace attest::core::config
