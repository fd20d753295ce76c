// Does this monitor run a guest on this host? One is booted once, and the answer kept until the
// host boots again.
#include "backends/image/probe_answers.h"
#include "backends/microvm/monitor_process.h"
#include "backends/microvm/monitor_program.h"
#include "lib/async/child.h"
#include "lib/async/fd_stream.h"
#include "lib/async/within.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <array>
#include <future>

namespace attest::microvm {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto limit = 5s;
constexpr std::size_t most_output = 1 << 20;

bool guest_spoke(const std::string& text) { return text.find(probe_words) != std::string::npos; }

// Reads until the guest has spoken, or the monitor has closed the pipe, or enough has come.
Task<void> watch(Stream* output, std::string* text) {
  std::array<char, 4096> buffer;
  while (!guest_spoke(*text) && text->size() < most_output) {
    std::size_t count = co_await output->read_some(buffer);
    if (count == 0) co_return;
    text->append(buffer.data(), count);
  }
}

Task<bool> watch_in_time(Stream* output, std::string* text) {
  try {
    co_await async::within(Deadline::after(limit), "probing", watch(output, text));
    co_return true;
  } catch (const Error& error) {
    if (error.kind() != Error::Kind::timeout) throw;
  }
  co_return false;
}

std::string probe(const ProbeCommand& command) {
  // A loop of its own on this thread: the caller may hold up the driver's loop, never run on it.
  asio::io_context context;
  std::string text;
  bool in_time = false;
  try {
    base::TempDir dir("attest-probe-");
    fs::path kernel = dir.path() / "kernel";
    base::write_file(kernel, probe_kernel());
    auto output = base::make_pipe();
    async::ChildSpec spec;
    spec.argv = command(dir.path(), kernel);
    spec.cwd = dir.path();
    spec.fds.emplace(2, base::Fd(::dup(output.second.get())));
    spec.fds.emplace(1, std::move(output.second));
    async::Child child(context.get_executor(), std::move(spec));
    auto stream = async::make_stream(context.get_executor(), std::move(output.first));
    auto answer = asio::co_spawn(context, watch_in_time(stream.get(), &text), asio::use_future);
    while (answer.wait_for(0s) != std::future_status::ready) context.run_one();
    in_time = answer.get();
  } catch (const std::exception& failure) {
    return failure.what();
  }
  if (guest_spoke(text)) return "";
  std::string words = last_words(text, 3);
  return (in_time ? "the monitor ended before a probe guest ran"
                  : "a probe guest did not run within " + base::human(limit)) +
         (words.empty() ? " (no output)" : ": " + words);
}

void put(std::string& bytes, std::size_t at, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes[at + std::size_t(i)] = char(value >> (8 * i));
}

}  // namespace

std::string probe_kernel() {
  // These instructions are the same in 32-bit mode (entered by PVH's note) and in 64-bit mode.
  std::string code;
  code += std::string("\x66\xba\xf8\x03", 4);  // mov dx, 0x3f8
  std::string words = std::string(probe_words) + "\r\n";
  for (char letter : words) {
    code += std::string("\xb0", 1) + letter;  // mov al, letter
    code += '\xee';                           // out dx, al
  }
  code += std::string("\x66\xba\x00\x06\xb0\x34\xee", 7);  // ACPI sleep: S5 on port 0x600
  code += std::string("\xb0\xfe\xe6\x64", 4);              // reset by the keyboard controller
  code += std::string("\xf4\xeb\xfd", 3);                  // hlt; jmp back to it

  constexpr std::uint64_t address = 0x100000;
  constexpr std::size_t note_at = 0x100, code_at = 0x1000;
  constexpr int note_size = 12 + 4 + 4;  // header, "Xen\0", a 32-bit address
  std::string file(code_at, '\0');
  file.replace(0, 16,
               std::string("\x7f"
                           "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
                           16));
  put(file, 16, 2, 2);        // an executable
  put(file, 18, 62, 2);       // for x86-64
  put(file, 20, 1, 4);        // version
  put(file, 24, address, 8);  // entry
  put(file, 32, 64, 8);       // program headers follow
  put(file, 52, 64, 2);       // size of this header
  put(file, 54, 56, 2);       // size of a program header
  put(file, 56, 2, 2);        // two of them
  put(file, 58, 64, 2);       // size of a section header, of which there are none
  auto header = [&](std::size_t at, unsigned type, unsigned flags, std::uint64_t offset,
                    std::uint64_t where, std::uint64_t size, std::uint64_t align) {
    put(file, at, type, 4);
    put(file, at + 4, flags, 4);
    put(file, at + 8, offset, 8);
    put(file, at + 16, where, 8);
    put(file, at + 24, where, 8);
    put(file, at + 32, size, 8);
    put(file, at + 40, size, 8);
    put(file, at + 48, align, 8);
  };
  header(64, 1, 7, code_at, address, code.size(), 0x1000);  // PT_LOAD
  header(120, 4, 4, note_at, note_at, note_size, 4);        // PT_NOTE
  put(file, note_at, 4, 4);                                 // length of "Xen\0"
  put(file, note_at + 4, 4, 4);                             // length of the address
  put(file, note_at + 8, 18, 4);                            // XEN_ELFNOTE_PHYS32_ENTRY
  file.replace(note_at + 12, 4, std::string("Xen\0", 4));
  put(file, note_at + 16, address, 4);
  return file + code;
}

std::string why_no_guest(const std::string& program, const ProbeCommand& command) {
  return image::probe_once("guest-probe", image::file_identity(program) + "\n",
                           [&] { return probe(command); });
}

}  // namespace attest::microvm
