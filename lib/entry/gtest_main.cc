// The main() of programs that have none of their own: this object is only linked then.
#include "attest/gtest.h"

int main(int argc, char** argv) { return attest::main(argc, argv); }
