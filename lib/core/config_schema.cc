#include "lib/core/config_check.h"
#include "lib/core/config_table.h"
#include "lib/core/config_write.h"

namespace attest::core::config {
namespace {

OrderedJson text_schema(const Rule& rule) {
  OrderedJson schema{{"type", "string"}};
  if (rule.filled) schema["minLength"] = 1;
  if (!rule.choices.empty()) schema["enum"] = rule.choices;
  if (auto regex = pattern(rule.form); !regex.empty()) schema["pattern"] = regex;
  return schema;
}

template <class T>
OrderedJson schema_of(const Rule& rule) {
  if constexpr (Flag<T>) {
    return {{"type", "boolean"}};
  } else if constexpr (Number<T>) {
    return {{"type", "integer"}, {"minimum", rule.min}, {"maximum", rule.max}};
  } else if constexpr (Text<T>) {
    return text_schema(rule);
  } else if constexpr (Choice<T>) {
    return {{"type", "string"}, {"enum", Names<T>::all}};
  } else if constexpr (List<T>) {
    OrderedJson schema{{"type", "array"}, {"items", schema_of<typename T::value_type>(rule)}};
    if (rule.unique) schema["uniqueItems"] = true;
    if (rule.most < Rule{}.most) schema["maxItems"] = rule.most;
    return schema;
  } else if constexpr (Map<T>) {
    OrderedJson schema{{"type", "object"}};
    if (rule.keys != Form::any) schema["propertyNames"] = {{"pattern", pattern(rule.keys)}};
    schema["additionalProperties"] = schema_of<typename T::mapped_type>(rule);
    if (rule.most < Rule{}.most) schema["maxProperties"] = rule.most;
    return schema;
  } else {
    OrderedJson schema{{"type", "object"}, {"additionalProperties", false}};
    auto properties = OrderedJson::object();
    auto required = OrderedJson::array();
    for_each_field<T>([&](const auto& field) {
      using V = std::remove_cvref_t<decltype(T{}.*field.member)>;
      OrderedJson property{{"description", field.doc}};
      property.update(schema_of<V>(field.rule));
      // The keys of an object have defaults of their own; a required key has none.
      if (!Object<V> && !field.rule.required) property["default"] = write(T{}.*field.member);
      if (field.rule.required) required.push_back(field.name);
      properties[std::string(field.name)] = std::move(property);
    });
    schema["properties"] = std::move(properties);
    if (!required.empty()) schema["required"] = std::move(required);
    if constexpr (Shorthand<T>) return {{"anyOf", {{{"type", "string"}}, std::move(schema)}}};
    return schema;
  }
}

}  // namespace
}  // namespace attest::core::config

namespace attest {

std::string config_schema() {
  using namespace core::config;
  OrderedJson schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                     {"title", "attest config"},
                     {"description", "The machines of a test and how they are booted."}};
  schema.update(schema_of<Config>({}));
  return schema.dump(2) + "\n";
}

}  // namespace attest
