"""Functions of strings, encodings, addresses and times answer what their documentation says."""

from __future__ import annotations

import datetime as dt

import pytest

from cluster.errors import LimitExceededError, NotSupportedError, SemanticError

V6 = "fe80::85d:e82c:9446:7994"

ANSWERS = [
    ("indexof('abcdefg', 'cde', 1, 4)", 2),
    ("indexof('abcdefg', 'cde', 1, 2)", -1),
    ("indexof('abcdefg', 'cde', -5)", 2),
    ("indexof(1234567, 5, 1, 4)", 4),
    ("indexof('abcdefgabcdefg', 'cde', 1, 10, 2)", 9),
    ("indexof('abcdefgabcdefg', 'cde', 1, -1, 3)", -1),
    ("indexof('abc', 'b', 0, -2)", None),
    ("indexof_regex('abcabc', @'a.c')", 0),
    ("indexof_regex('abcabcdefg', @'a.c', 0, 9, 2)", 3),
    ("indexof_regex('abcabc', @'a.c', 1, -1, 2)", -1),
    ("indexof_regex('ababaa', @'a.a', 0, -1, 2)", -1),
    ("indexof_regex('abcabc', @'a|ab', -1)", None),
    ("indexof_regex('xx b\\nab', @'\\bab', 1)", 5),
    ("has_any_index('this is an example', dynamic(['not', 'EXAMPLE']))", 1),
    ("has_any_index('Example number 2', range(1, 3, 1))", 1),
    ("has_any_index('this', dynamic([]))", -1),
    ("translate('abc', 'x', 'abc')", "xxx"),
    ("translate('abc', '', 'ab')", ""),
    ("translate('krasp', 'otsku', 'spark')", "kusto"),
    ("replace_strings('This is it', dynamic(['This','is']), dynamic(['This','was']))",
     "This was it"),
    ("replace_strings('This is it', dynamic(['is','This']), dynamic(['was','This']))",
     "Thwas was it"),
    ("replace_strings('This is it', dynamic(['This','is']), dynamic([1,'was']))", "This was it"),
    ("strrep(123, 3, '.')", "123.123.123"),
    ("strrep(3s, 2, ' ')", "00:00:03 00:00:03"),
    ("strlen(strrep('a', 2000, ''))", 1024),
    ("unicode_codepoints_from_string('⒦K')", "[9382,75]"),
    ("unicode_codepoints_to_string(dynamic([75,117]), 115)", "Kus"),
    ("unicode_codepoints_to_string(1114112)", ""),
    ("make_string(75)", "K"),
    ("regex_quote('(so$me.Te^xt)')", "\\(so\\$me\\.Te\\^xt\\)"),
    ("isutf8('ß')", True),
    ("punycode_from_string('académie-française')", "acadmie-franaise-npb1a"),
    ("punycode_to_string('acadmie-franaise-npb1a')", "académie-française"),
    ("punycode_to_string('ß')", ""),
    ("punycode_domain_from_string('xn--Ry-lja8c.xn--Jng-uta63a.com')", "Rúyì.Jīngū.com"),
    ("punycode_domain_to_string('Riðill｡Skáldskaparmál｡org')",
     "xn--Riill-jta.xn--Skldskaparml-dbbj.org"),
    ("base64_decode_tostring('U3RyaW5n0KHR0tGA0L7Rh9C60LA=')", ""),
    ("base64_decode_tostring('S3VzdG8=')", "Kusto"),
    ("base64_decode_toarray('S3VzdG8=')", "[75,117,115,116,111]"),
    ("base64_decode_toarray('S3VzdG8')", None),
    ("base64_encode_fromarray(dynamic([75,117,115,116,111]))", "S3VzdG8="),
    ("base64_encode_fromarray(dynamic([256]))", ""),
    ("base64_encode_fromguid(toguid('ae3133f2-6e22-49ae-b06a-16e6a9b212eb'))",
     "8jMxriJurkmwahbmqbIS6w=="),
    ("zlib_decompress_from_base64_string('eJwLSS0uUSguKcrMS1cwNDIGACxqBQ4=')",
     "Test string 123"),
    (("gzip_decompress_from_base64_string('H4sIAAAAAAAA/wEUAOv/MTIzNDU2Nzg5MHF3ZXJ0eXVpb3A6m7f2"
     "FAAAAA==')"), "1234567890qwertyuiop"),
    ("gzip_decompress_from_base64_string('x0x0x0')", ""),
    ("zlib_decompress_from_base64_string('eJwL')", ""),
    ("url_encode('https://www.bing.com/hello world')", "https%3a%2f%2fwww.bing.com%2fhello+world"),
    ("url_encode_component('a/b c~ß')", "a%2fb%20c~%c3%9f"),
    ("url_decode('https%3a%2f%2fwww.bing.com%2f')", "https://www.bing.com/"),
    ("hash('World')", 1846988464401551951),
    ("hash_xxhash64('Hello')", 753694413698530628),
    ("hash(datetime(2015-01-01))", 1380966698541616202),
    ("parse_csv('aa,\"b,b\",cc,\"say \"\"x\"\"\",\"1\\n2\"')",
     '["aa","b,b","cc","say \\"x\\"","1\\n2"]'),
    ("parse_csv('r1,a\\nr2,b')", '["r1","a"]'),
    ("parse_csv('')", '[""]'),
    ('parse_command_line(\'echo "hello world!" a\\\\\\\\"b c"\', "windows")',
     '["echo","hello world!","a\\\\b c"]'),
    ("parse_path(@'C:\\temp\\file.txt').DirectoryPath", '"C:\\\\temp"'),
    ("parse_path('file://C:/temp/file.txt:some.exe')",
     ('{"Scheme":"file","RootPath":"C:","DirectoryPath":"C:/temp","DirectoryName":"temp",'
     '"Filename":"file.txt","Extension":"txt","AlternateDataStreamName":"some.exe"}')),
    ("parse_path('/usr/lib/temp/file.gz.x').Extension", '"x"'),
    ("parse_urlquery('k1=v1&k2=v2')", '{"Query Parameters":{"k1":"v1","k2":"v2"}}'),
    ("format_bytes(564)", "564 Bytes"),
    ("format_bytes(10332, 1)", "10.1 KB"),
    ("format_bytes(20010332)", "19 MB"),
    ("format_bytes(20010332, 2)", "19.08 MB"),
    ("format_bytes(20010332, 0, 'KB')", "19541 KB"),
    ("format_bytes(1761782453926, 2, 'GB')", "1640.79 GB"),
    ("split('aaa_bbb_ccc', '_', 1)", '["bbb"]'),
    ("split('a_b', '_', 5)", "[]"),
    ("tohex(toint(-256), 8)", "ffffff00"),
    ("tohex(toint(255))", "ff"),
    ("make_datetime(2017, 10, 1, 12, 10)", dt.datetime(2017, 10, 1, 12, 10)),
    ("make_timespan(1, 12, 30, 55.123)",
     dt.timedelta(days=1, hours=12, minutes=30, seconds=55, milliseconds=123)),
    ("make_timespan(12, 30, 55.7)", dt.timedelta(hours=12, minutes=30, seconds=55.7)),
    ("datetime_utc_to_local(datetime(2022-07-11 22:18:48), 'US/Pacific')",
     dt.datetime(2022, 7, 11, 15, 18, 48)),
    ("datetime_local_to_utc(datetime(2020-02-02 20:02:20), 'Europe/Paris')",
     dt.datetime(2020, 2, 2, 19, 2, 20)),
    ("datetime_local_to_utc(datetime(2022-03-27 02:00), 'Europe/Brussels')",
     dt.datetime(2022, 3, 27)),
    ("datetime_local_to_utc(datetime(2022-03-27 03:00), 'Europe/Brussels')",
     dt.datetime(2022, 3, 27, 1)),
    ("round(erf(1), 12)", 0.842700792950),
    ("round(erfc(2), 12)", 0.004677734981),
    ("ipv4_compare('192.168.1.1/30', '192.168.1.255/24')", 0),
    ("ipv4_compare('192.168.1.1', '192.168.1.0', 31)", 0),
    ("ipv4_compare('10.0.0.1', '9.0.0.1')", 1),
    ("ipv4_compare('10.0.0.1', 'x')", None),
    ("ipv4_compare('10.0.0.1', '10.0.0.1', 33)", None),
    ("ipv4_is_match('192.168.1.1/24', '192.168.1.255')", True),
    ("ipv4_is_match('1.1.1.256', '1.1.1.1')", None),
    ("ipv4_is_in_range('192.168.1.1', strcat('192.168.1.255', '/24'))", True),
    ("ipv4_is_in_any_range('192.168.1.6', '10.0.0.1/8', '192.168.1.1/24')", True),
    ("ipv4_is_in_any_range('1.1.1.1', dynamic(['10.0.0.1/8']))", False),
    ("ipv4_is_in_any_range('x', dynamic(['10.0.0.1/8']))", None),
    ("ipv4_netmask_suffix('127.0.0.1/16')", 16),
    ("ipv4_netmask_suffix('127.0.0.1')", 32),
    ("parse_ipv4_mask('127.0.0.1', 24)", 2130706432),
    ("format_ipv4('192.168.1.1', 24)", "192.168.1.0"),
    ("format_ipv4(3232235777)", "192.168.1.1"),
    ("format_ipv4_mask('192.168.1.1/24', 32)", "192.168.1.0/24"),
    ("format_ipv4('192.168.1.1/24', long(-1))", ""),
    ("ipv4_range_to_cidr_list('1.1.128.0', '1.1.140.255')",
     '["1.1.128.0/21","1.1.136.0/22","1.1.140.0/24"]'),
    (f"ipv6_compare('{V6}/120', '{V6[:-1]}8')", 0),
    ("ipv6_compare('192.168.1.1/24', '::ffff:c0a8:01ff')", 0),
    ("ipv6_compare('::192.168.1.1/30', '192.168.1.255/24', 127)", 0),
    ("ipv6_compare('fe80::1', 'fe80::2')", -1),
    ("ipv6_is_match('fe80::g', 'fe80::1')", None),
    (("ipv6_is_in_range('a5e:f127:8a9d:146d:e102:b5d3:c755:abcd', "
     "'a5e:f127:8a9d:146d:e102:b5d3:c755:0000/112')"), True),
    ("ipv6_is_in_any_range('fe80::1', 'fe81::/16', '192.168.0.0/8')", False),
    ("ipv6_compare('192.168.1.1', '192.168.1.0', 24)", 0),
    ("strlen(punycode_from_string(strrep('ä', 1024))) > 1024", True),
    ("parse_ipv6_mask('192.168.255.255/24', 124)", "0000:0000:0000:0000:0000:ffff:c0a8:ff00"),
    (f"parse_ipv6_mask('{V6}', 120)", "fe80:0000:0000:0000:085d:e82c:9446:7900"),
    ("parse_ipv6_mask('x', 120)", ""),
    ("has_ipv4('05:04:54 127.0.0.1 GET', '127.0.0.1')", True),
    ("has_ipv4('05:04:54127.0.0.1 GET', '127.0.0.1')", False),
    ("has_ipv4('127.0.0.256 GET', '127.0.0.256')", False),
    ("has_any_ipv4('a 127.0.0.2.', dynamic(['127.0.0.1', '127.0.0.2']))", True),
    ("has_ipv4_prefix('a 127.0.0.1 b', '127.0.')", True),
    ("has_ipv4_prefix('a 127.0.0.1 b', '127.0')", False),
    ("has_any_ipv4_prefix('a 127.0.0.256', '127.0.')", False),
]  # fmt: skip


async def test_answers_are_the_documented_ones(answer):
    said = [(call, (await answer(f"print x = {call}"))[0][0]) for call, _ in ANSWERS]
    assert said == ANSWERS


REFUSED = [
    ("indexof('aaaa', 'aa', 0, -1, 2)", NotSupportedError, "overlaps"),
    ("indexof_regex('abc', 'x*')", NotSupportedError, "matches an empty text"),
    ("indexof_regex('abcabc', 'abc', 0, 4, 2)", NotSupportedError, "late occurrence"),
    ("indexof_regex('abc', 'b', 0, -1, 101)", NotSupportedError, "up to occurrence 100"),
    ("indexof_regex('abc', strcat('a', 'b'))", NotSupportedError, "constant pattern"),
    ("has_any_index('thisis', dynamic(['this']))", NotSupportedError, "longer term"),
    ("replace_strings('a', dynamic(['a']), dynamic([]))", NotSupportedError, "lengths"),
    ("regex_quote('a b')", NotSupportedError, "character ' '"),
    ("punycode_from_string(strcat(strrep('ä',1024), 'ä'))", NotSupportedError, "1024 char"),
    ("base64_decode_toguid('x')", NotSupportedError, "base64_decode_toguid"),
    ("base64_encode_fromguid('x')", SemanticError, "expected: guid"),
    ("hash(1)", NotSupportedError, "strings and datetimes"),
    ("hash('a', 10)", NotSupportedError, "modulus"),
    ("parse_csv('a\"b')", NotSupportedError, "quote within"),
    ("parse_csv('\"b')", NotSupportedError, "does not end"),
    ("parse_command_line('a b', 'bash')", NotSupportedError, "bash"),
    ("parse_path('https://host/a/b')", NotSupportedError, "https"),
    ("parse_path(@'C:\\a.txt')", NotSupportedError, "root"),
    ("format_bytes(1024, 1)", NotSupportedError, "ends in a zero"),
    ("format_bytes(2560)", NotSupportedError, "half way"),
    ("format_bytes(-1)", NotSupportedError, "negative"),
    ("split('a', '_', -1)", NotSupportedError, "negative index"),
    ("datetime_local_to_utc(datetime(2022-10-30 02:30), 'Europe/Brussels')",
     NotSupportedError, "twice"),
    ("datetime_utc_to_local(now(), 1)", SemanticError, "must be a string"),
    ("datetime_utc_to_local(now(), 'Nowhere/Town')", SemanticError, "time zone"),
    ("ipv6_compare('192.168.1.1', '193.168.1.0', 24)", NotSupportedError, "two IPv4"),
    ("ipv4_range_to_cidr_list('1.1.1.2', '1.1.1.1')", NotSupportedError, "out of order"),
    ("translate('a', 'b')", SemanticError, "SEM0219"),
    ("url_encode(1)", SemanticError, "expected: string"),
]  # fmt: skip


async def test_what_is_not_certain_is_refused(answer):
    for call, kind, message in REFUSED:
        with pytest.raises(kind, match=message):
            await answer(f"print x = {call}")


async def test_what_is_decompressed_is_bounded(answer):
    import base64
    import zlib

    bomb = base64.b64encode(zlib.compress(b"a" * 20_000_000, 9)).decode()
    with pytest.raises(LimitExceededError):
        await answer(f"print zlib_decompress_from_base64_string('{bomb}')")


@pytest.mark.parametrize(("least", "fits"), [(-1, False), (0, True), (1, True)])
async def test_a_text_is_as_long_as_the_limit(engine_with, snapshot, limits, least, fits):
    """``["aaa"]`` has seven characters."""
    async with engine_with(limits(string_value_bytes=7 + least)) as engine:
        kql = "print x = repeat('aaa', 1)"
        if fits:
            assert (await engine.run(kql, snapshot)).table.num_rows == 1
        else:
            with pytest.raises(LimitExceededError, match="longer than 6 bytes"):
                await engine.run(kql, snapshot)
