"""Names, versions and file lists of RPMs made from Debian packages."""

import unittest

import debian_rpms


class DebianRpms(unittest.TestCase):
    def test_canonical(self):
        self.assertEqual(debian_rpms.canonical("./lib64/ld.so"), "usr/lib64/ld.so")
        self.assertEqual(debian_rpms.canonical("./sbin"), "usr/sbin")
        self.assertEqual(debian_rpms.canonical("./etc/lib/x"), "etc/lib/x")

    def test_version(self):
        self.assertEqual(debian_rpms.version("1:2.3-rc1-4+b1"), ["Epoch: 1", "Version: 2.3_rc1", "Release: 4+b1"])
        self.assertEqual(debian_rpms.version("20"), ["Version: 20", "Release: 1"])

    def test_sections(self):
        packages = [
            ("cpp", "5-1", [("usr/bin/cpp", 0o777)]),
            ("dash", "1", []),
            ("gcc", "4:9-1", [("usr/bin/gcc", 0o777)]),
            ("librpm10", "4.20-1", [("usr/lib/librpm.so.10", 0o644)]),
            ("mawk", "1.3-1", [("usr/bin/mawk", 0o755)]),
        ]
        rpms = debian_rpms.sections(packages)
        self.assertEqual(rpms["gcc"], ("4:9-1", [("usr/bin/cpp", 0o777), ("usr/bin/gcc", 0o777)], ()))
        self.assertEqual(rpms["mawk"][1], [("usr/bin/mawk", 0o755), ("usr/bin/awk", 0o777)])
        self.assertEqual(rpms["rpm-plugin-unshare"][0], "4.20-1")
        self.assertEqual(sorted(rpms), ["gcc", "librpm10", "mawk", "rpm-plugin-unshare"])

    def test_subpackage(self):
        members = [("usr/bin/ping", 0o755), ("etc/x", 0o600), ("usr/bin/link", 0o777)]
        self.assertEqual(
            debian_rpms.subpackage("ping", "1-2", members, ("Requires: x",))[-5:],
            [
                "%files -n ping",
                '%config(noreplace) %attr(600,root,root) "/etc/x"',
                '"/usr/bin/link"',
                '%attr(755,root,root) %caps(cap_net_raw=p) "/usr/bin/ping"',
                "",
            ],
        )


if __name__ == "__main__":
    unittest.main()
