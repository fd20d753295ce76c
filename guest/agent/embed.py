#!/usr/bin/env python3
"""Writes a source that carries a file: embed.py FILE OUTPUT. It answers lib/guest/agent_binary.h."""
import hashlib
import pathlib
import sys

file, output = map(pathlib.Path, sys.argv[1:])
# The digest makes another source of another file: ninja and ccache see that it must be compiled.
digest = hashlib.sha256(file.read_bytes()).hexdigest()
output.write_text(f"""// sha256 {digest}
#include "lib/guest/agent_binary.h"

#include <cstddef>

asm(R"asm(
  .pushsection .rodata
  .balign 16
  .globl attest_agent_binary
  .hidden attest_agent_binary
attest_agent_binary:
  .incbin "{file.resolve()}"
  .globl attest_agent_binary_end
  .hidden attest_agent_binary_end
attest_agent_binary_end:
  .byte 0
  .popsection
)asm");

extern "C" const char attest_agent_binary[], attest_agent_binary_end[];

namespace attest::guest {{

std::string_view agent_binary() {{
  return {{attest_agent_binary,
          static_cast<std::size_t>(attest_agent_binary_end - attest_agent_binary)}};
}}

}}  // namespace attest::guest
""")
