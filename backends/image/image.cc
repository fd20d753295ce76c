#include "backends/image/image.h"

#include "attest/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>

namespace attest::image {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// Reads members of one image.json and says which one is wrong.
class Reader {
 public:
  Reader(std::string_view text, fs::path directory) : directory_(std::move(directory)) {
    object_ = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!object_.is_object()) throw wrong("expected a JSON object");
    auto format = object_.find("format");
    if (format == object_.end() || *format != 1)
      throw wrong("expected 'format' 1, got " + (format == object_.end() ? "none" : format->dump()))
          .hint("build the image with the same version of attest: sh guest/debian/build.sh");
  }

  std::string text(const char* key) const {
    auto found = object_.find(key);
    if (found == object_.end()) return "";
    if (!found->is_string())
      throw wrong(std::string("expected a string at '") + key + "', got " + found->dump());
    return found->get<std::string>();
  }
  fs::path path(const char* key) const {
    std::string value = text(key);
    return value.empty() ? fs::path() : directory_ / value;
  }
  std::vector<std::string> list(const char* key) const {
    std::vector<std::string> values;
    auto found = object_.find(key);
    if (found == object_.end()) return values;
    if (!found->is_array())
      throw wrong(std::string("expected an array at '") + key + "', got " + found->dump());
    for (auto& item : *found) {
      if (!item.is_string())
        throw wrong(std::string("expected strings in '") + key + "', got " + item.dump());
      values.push_back(item.get<std::string>());
    }
    return values;
  }
  void check_store(const Image& image) const {
    if (!image.store.empty() && image.root.empty())
      throw wrong("it has a 'store', the drive after the root's, and no 'root'");
    if (!image.store.empty() && !image.store_mount.starts_with('/'))
      throw wrong("it has a 'store', so expected an absolute path at 'store_mount', got '" +
                  image.store_mount + "'");
  }

 private:
  Error wrong(const std::string& what) const {
    return Error(
        Error::Kind::usage,
        "the image description '" + (directory_ / "image.json").string() + "' is wrong: " + what);
  }

  fs::path directory_;
  json object_;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// What to do about an image that is not in the cache.
std::string build_hint(const std::string& name) {
  if (name.starts_with("debian-"))
    return "build it once with 'sh guest/debian/build.sh --variant " + name.substr(7) +
           "', if that is a variant of the default image";
  return "build the default image once with 'sh guest/debian/build.sh', or name another with "
         "ATTEST_IMAGE or the config's 'image'";
}

}  // namespace

Image parse_image(std::string_view text, const fs::path& directory) {
  Reader reader(text, directory);
  Image image;
  image.name = reader.text("name");
  image.backends = reader.list("backends");
  image.kernel = reader.path("kernel");
  image.vmlinux = reader.path("vmlinux");
  image.initrd = reader.path("initrd");
  image.root = reader.path("root");
  image.root_format = reader.text("root_format");
  image.store = reader.path("store");
  image.store_mount = reader.text("store_mount");
  reader.check_store(image);
  image.tree = reader.path("tree");
  image.cmdline = reader.text("cmdline");
  image.channel = reader.text("channel");
  image.seed = reader.text("seed");
  return image;
}

fs::path cache_dir() {
  if (auto own = environment("ATTEST_CACHE"); !own.empty()) return own;
  if (auto xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) return fs::path(xdg) / "attest";
  if (auto home = environment("HOME"); !home.empty()) return fs::path(home) / ".cache" / "attest";
  return {};
}

Image find_image(const std::string& value, std::string_view backend) {
  std::string wanted = value.empty() ? environment("ATTEST_IMAGE") : value;
  if (wanted.empty()) wanted = "debian";
  bool named = wanted.find('/') == std::string::npos;
  fs::path file = named ? cache_dir() / "guest" / wanted : fs::path(wanted);
  std::error_code ignored;
  if (named || fs::is_directory(file, ignored)) file /= "image.json";
  file = fs::absolute(file);

  auto text = base::try_read_file(file);
  if (!text)
    throw Error(Error::Kind::usage,
                "there is no image '" + wanted + "': cannot read '" + file.string() + "'")
        .hint(named ? build_hint(wanted)
                    : "give the directory that holds an image.json, or the name of a cached image; "
                      "'sh guest/debian/build.sh' builds one");
  Image image = parse_image(*text, file.parent_path());
  if (std::ranges::find(image.backends, backend) == image.backends.end())
    throw Error(Error::Kind::usage, "the image '" + wanted + "' does not serve the backend '" +
                                        std::string(backend) + "', only " +
                                        base::join(image.backends, ", "))
        .hint("use another image, or another backend for this machine");
  return image;
}

}  // namespace attest::image
