// Machine: files and trees, in and out.
#include "attest/machine.h"
#include "lib/base/text.h"
#include "lib/core/machine_impl.h"
#include "lib/guest/host_tree.h"

#include <algorithm>

namespace attest {
namespace {

namespace fs = std::filesystem;

// The last component of a path in the guest; the name under which it arrives.
std::string name_of(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  std::string name(path.substr(path.rfind('/') + 1));
  if (!path.starts_with('/') || name.empty() || name == "." || name == "..")
    throw Error(Error::Kind::usage,
                "'" + std::string(path) + "' is not an absolute path that ends in a name");
  return name;
}

void check_target_dir(std::string_view target_dir) {
  fs::path dir(target_dir);
  if (dir.is_absolute() || std::find(dir.begin(), dir.end(), "..") != dir.end())
    throw Error(Error::Kind::usage,
                "target_dir '" + std::string(target_dir) + "' is not a relative path without '..'");
}

Task<void> send(guest::Guest& guest, fs::path from, std::string to, Deadline deadline) {
  auto tree = guest::read_tree(from);
  try {
    co_await guest.send_tree(*tree, to, deadline);
  } catch (Error& e) {
    e.during("copying '" + from.string() + "' to " + to + " in the machine");
    throw;
  }
}

Task<void> fetch(guest::Guest& guest, std::string from, fs::path to, Deadline deadline) {
  auto tree = guest::write_tree(to);
  try {
    co_await guest.fetch_tree(from, *tree, deadline);
  } catch (Error& e) {
    e.during("copying " + from + " out of the machine to '" + to.string() + "'");
    throw;
  }
}

}  // namespace

void Machine::copy_from_host(const fs::path& source, std::string_view target, CopyOptions options,
                             Here here) {
  impl_->in_guest(impl_->command_limit(options.timeout), Evidence::none, here,
                  [source, target = std::string(target)](guest::Guest& guest, Deadline deadline) {
                    return send(guest, source, target, deadline);
                  });
}

void Machine::copy_from_host_via_shell(const fs::path& source, std::string_view target,
                                       CopyOptions options, Here here) {
  copy_from_host(source, target, options, here);
}

fs::path Machine::copy_from_machine(std::string_view source, std::string_view target_dir,
                                    CopyOptions options, Here here) {
  fs::path arrived;
  try {
    auto name = name_of(source);
    check_target_dir(target_dir);
    arrived = impl_->fleet.setup.artifacts() / target_dir / name;
  } catch (const Error& e) {
    throw impl_->of_this(e, here);
  }
  impl_->in_guest(impl_->command_limit(options.timeout), Evidence::none, here,
                  [arrived, source = std::string(source)](guest::Guest& guest, Deadline deadline) {
                    return fetch(guest, source, arrived, deadline);
                  });
  return arrived;
}

fs::path Machine::copy_from_vm(std::string_view source, std::string_view target_dir,
                               CopyOptions options, Here here) {
  return copy_from_machine(source, target_dir, options, here);
}

std::string Machine::read_file(std::string_view path, WaitOptions options, Here here) {
  return impl_->in_guest(impl_->command_limit(options.timeout), Evidence::none, here,
                         [path = std::string(path)](guest::Guest& guest, Deadline deadline) {
                           return guest.read_file(path, deadline);
                         });
}

void Machine::write_file(std::string_view path, std::string_view bytes, FileOptions options,
                         Here here) {
  impl_->in_guest(impl_->command_limit(options.timeout), Evidence::none, here,
                  [path = std::string(path), bytes = std::string(bytes), mode = options.mode](
                      guest::Guest& guest, Deadline deadline) {
                    return guest.write_file(path, bytes, mode, deadline);
                  });
}

fs::path Machine::shared_dir(Here here) {
  impl_->fleet.polling->check(here);
  return impl_->call(impl_->shared_dir(), here);
}

}  // namespace attest
