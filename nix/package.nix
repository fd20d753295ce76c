# The library with its pkg-config and CMake packages. The suites that need no guest run as its check.
{
  lib,
  stdenv,
  meson,
  ninja,
  pkg-config,
  python3,
  boost,
  fmt,
  gtest,
  libnl,
  libssh2,
  nlohmann_json,
  re2,
  xxHash,
}:
stdenv.mkDerivation {
  pname = "attest";
  version = "0.1.0";

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../meson.build
      ../meson_options.txt
      ../backends
      ../bench
      ../examples
      ../guest
      ../include
      ../lib
      ../tests
    ];
  };

  nativeBuildInputs = [
    meson
    ninja
    pkg-config
    python3
  ];
  buildInputs = [ boost ];
  # What a program that links libattest.a needs too, or includes with our headers.
  propagatedBuildInputs = [
    fmt
    gtest
    libnl
    libssh2
    nlohmann_json
    re2
    xxHash
  ];

  doCheck = true;
  checkPhase = ''
    runHook preCheck
    meson test --no-rebuild --print-errorlogs --suite tree --suite unit
    runHook postCheck
  '';

  meta = {
    description = "Integration tests of whole machines, as GoogleTest tests";
    license = lib.licenses.mit;
    platforms = [ "x86_64-linux" ];
  };
}
