#include "tests/sims/common/spec_check.h"

#include "attest/error.h"
#include "lib/base/text.h"

#include <yaml-cpp/yaml.h>
#include <nlohmann/json.hpp>

#include <cstdlib>

namespace attest::sims {
namespace {

using nlohmann::json;

// yaml-cpp's nodes refer to each other; only this keeps a missing member from being made.
YAML::Node member(const YAML::Node& node, const std::string& name) {
  return node.IsMap() ? node[name] : YAML::Node(YAML::NodeType::Undefined);
}

std::string text_of(const YAML::Node& node) { return node && node.IsScalar() ? node.Scalar() : ""; }

bool has_type(const json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  return true;
}

// "/drives/{drive_id}" against "/drives/root".
bool fits(const std::string& pattern, const std::string& path) {
  auto wanted = base::split(pattern, '/');
  auto came = base::split(path, '/');
  if (wanted.size() != came.size()) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (!wanted[i].starts_with("{") && wanted[i] != came[i]) return false;
  return true;
}

}  // namespace

struct SpecCheck::Document {
  YAML::Node root;

  YAML::Node resolve(YAML::Node schema) const {
    for (std::string ref = text_of(member(schema, "$ref")); !ref.empty();
         ref = text_of(member(schema, "$ref"))) {
      YAML::Node found = YAML::Clone(root);
      for (auto& step : base::split(ref.substr(2), '/')) found.reset(member(found, step));
      schema.reset(found);
    }
    return schema;
  }

  std::string check(YAML::Node schema, const json& value, const std::string& where) const;
  std::string check_object(const YAML::Node& schema, const json& value,
                           const std::string& where) const;
  /// The schema of the body of an operation; undefined if it takes none.
  YAML::Node body_schema(const YAML::Node& operation, bool& required) const;
};

std::string SpecCheck::Document::check_object(const YAML::Node& schema, const json& value,
                                              const std::string& where) const {
  for (auto name : member(schema, "required"))
    if (!value.contains(name.Scalar())) return where + "member '" + name.Scalar() + "' is missing";
  YAML::Node properties = member(schema, "properties");
  YAML::Node others = member(schema, "additionalProperties");
  bool open = !properties || (others && text_of(others) != "false");
  for (auto& [name, inner] : value.items()) {
    YAML::Node known = properties ? member(properties, name) : YAML::Node();
    if (properties && known) {
      std::string found = check(known, inner, where + name + ": ");
      if (!found.empty()) return found;
    } else if (!open) {
      return where + "unknown member '" + name + "'";
    } else if (others && others.IsMap()) {
      std::string found = check(others, inner, where + name + ": ");
      if (!found.empty()) return found;
    }
  }
  return "";
}

std::string SpecCheck::Document::check(YAML::Node schema, const json& value,
                                       const std::string& where) const {
  schema.reset(resolve(schema));
  std::string type = text_of(member(schema, "type"));
  if (!has_type(value, type)) return where + "expected " + type + ", got " + value.dump();
  if (YAML::Node values = member(schema, "enum"); values && value.is_string()) {
    bool known = false;
    for (auto one : values) known = known || one.Scalar() == value.get<std::string>();
    if (!known) return where + "no such value: " + value.dump();
  }
  if (value.is_number()) {
    double number = value.get<double>();
    YAML::Node least = member(schema, "minimum"), most = member(schema, "maximum");
    if (least && number < least.as<double>())
      return where + value.dump() + " is less than " + least.Scalar();
    if (most && number > most.as<double>())
      return where + value.dump() + " is more than " + most.Scalar();
  }
  if (value.is_array() && member(schema, "items"))
    for (auto& item : value)
      if (auto found = check(member(schema, "items"), item, where); !found.empty()) return found;
  return value.is_object() ? check_object(schema, value, where) : "";
}

YAML::Node SpecCheck::Document::body_schema(const YAML::Node& operation, bool& required) const {
  if (YAML::Node body = member(operation, "requestBody")) {  // OpenAPI 3
    required = text_of(member(body, "required")) == "true";
    YAML::Node content = member(body, "content");
    return content ? member(member(content, "application/json"), "schema") : YAML::Node();
  }
  for (auto parameter : member(operation, "parameters"))  // Swagger 2
    if (text_of(member(parameter, "in")) == "body") {
      required = text_of(member(parameter, "required")) == "true";
      return member(parameter, "schema");
    }
  return YAML::Node(YAML::NodeType::Undefined);
}

SpecCheck::SpecCheck() = default;
SpecCheck::SpecCheck(SpecCheck&&) noexcept = default;
SpecCheck& SpecCheck::operator=(SpecCheck&&) noexcept = default;
SpecCheck::~SpecCheck() = default;

SpecCheck::SpecCheck(const std::string& file) : document_(std::make_unique<Document>()) {
  try {
    document_->root = YAML::LoadFile(file);
  } catch (const std::exception& failure) {
    throw Error(Error::Kind::usage,
                "the API description '" + file + "' cannot be read: " + failure.what());
  }
}

SpecCheck SpecCheck::from_environment(const std::string& file) {
  const char* folder = std::getenv("ATTEST_SIM_SPECS");
  if (!folder || !*folder) return SpecCheck();
  return SpecCheck(std::string(folder) + "/" + file);
}

std::string SpecCheck::problem(const std::string& method, const std::string& path,
                               const json* body) const {
  if (!document_) return "";
  std::string where = method + " " + path + ": ";
  std::string verb = method;
  for (char& letter : verb) letter = static_cast<char>(letter | 0x20);
  YAML::Node operation(YAML::NodeType::Undefined);
  for (auto entry : member(document_->root, "paths"))
    if (fits(entry.first.Scalar(), path)) operation.reset(member(entry.second, verb));
  if (!operation || !operation.IsMap()) return where + "not in the API description";
  bool required = false;
  YAML::Node schema = document_->body_schema(operation, required);
  bool described = schema && schema.IsMap();
  if (!body) return described && required ? where + "the body is missing" : "";
  return described ? document_->check(schema, *body, where) : where + "takes no body";
}

}  // namespace attest::sims
