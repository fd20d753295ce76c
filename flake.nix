{
  description = "Integration tests of whole machines, as GoogleTest tests";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
    in
    {
      packages.${system} = {
        attest = pkgs.callPackage ./nix/package.nix { };
        default = self.packages.${system}.attest;
      };

      checks.${system}.attest = self.packages.${system}.attest;

      devShells.${system}.default = pkgs.mkShell {
        inputsFrom = [ self.packages.${system}.attest ];
        packages = [
          pkgs.clang-tools
          pkgs.cmake
          pkgs.gdb
          pkgs.qemu
          pkgs.vde2
        ];
      };
    };
}
