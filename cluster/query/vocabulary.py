"""Functions by name: which ones Kusto has, which must not be passed on, what they return.

Types are Kusto names; ``None`` means "not known here". A type is used to refuse what would come
out silently wrong, so not knowing one never changes an answer that was right.
"""

from __future__ import annotations

from typing import Final

from cluster.query import aggregates, functions


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEXT_STEP: Final = _words(
    "current_principal current_principal_details current_principal_is_member_of "
    "current_cluster_endpoint"
)
"""Functions of the caller, refused where nobody says who calls, and of row order."""

KUSTO_FUNCTIONS: Final = _words(
    """
    around array_iff array_reverse array_rotate_left array_rotate_right array_shift_left
    array_shift_right array_slice array_split array_strcat array_sum assert bag_has_key bag_keys
    bag_merge bag_pack_columns bag_remove_keys bag_set_key bag_zip base64_decode_toarray
    base64_decode_toguid base64_encode_fromarray base64_encode_fromguid beta_cdf beta_inv
    beta_pdf bin_at bin_auto binary_all_and binary_all_or binary_all_xor bitset_count_ones
    buildschema ceiling column_ifexists column_names_of convert_angle convert_energy
    convert_force convert_length convert_mass convert_speed convert_temperature convert_volume
    count_distinct count_distinctif covariance covarianceif covariancep covariancepif
    current_database datetime_list_timezones datetime_local_to_utc datetime_utc_to_local
    dcount_hll dcount_intersect dynamic_to_json endofday erf erfc estimate_data_size exp10 exp2
    extract_json extractjson format_bytes format_ipv4 format_ipv4_mask format_ipv6
    format_ipv6_mask format_timespan geo_angle geo_azimuth geo_closest_point_on_line
    geo_closest_point_on_polygon geo_distance_2points geo_distance_point_to_line
    geo_distance_point_to_polygon geo_from_wkt geo_geohash_neighbors
    geo_geohash_to_central_point geo_geohash_to_polygon geo_h3cell_children geo_h3cell_level
    geo_h3cell_neighbors geo_h3cell_parent geo_h3cell_rings geo_h3cell_to_central_point
    geo_h3cell_to_polygon geo_info_from_ip_address geo_intersection_2lines
    geo_intersection_2polygons geo_intersection_line_with_polygon geo_intersects_2lines
    geo_intersects_2polygons geo_intersects_line_with_polygon geo_line_buffer geo_line_centroid
    geo_line_densify geo_line_interpolate_point geo_line_length geo_line_locate_point
    geo_line_simplify geo_line_to_s2cells geo_point_buffer geo_point_in_circle
    geo_point_in_polygon geo_point_to_geohash geo_point_to_h3cell geo_point_to_s2cell
    geo_polygon_area geo_polygon_buffer geo_polygon_centroid geo_polygon_densify
    geo_polygon_perimeter geo_polygon_simplify geo_polygon_to_h3cells geo_polygon_to_s2cells
    geo_s2cell_neighbors geo_s2cell_to_central_point geo_s2cell_to_polygon
    geo_simplify_polygons_array geo_union_lines_array geo_union_polygons_array
    gzip_compress_to_base64_string gzip_decompress_from_base64_string has_any_index has_any_ipv4
    has_any_ipv4_prefix has_ipv4 has_ipv4_prefix hash hash_combine hash_many hash_xxhash64 hll
    hll_if hll_merge indexof_regex ipv4_compare ipv4_is_in_any_range ipv4_is_in_range
    ipv4_is_match ipv4_is_private ipv4_lookup ipv4_netmask_suffix ipv4_range_to_cidr_list
    ipv6_compare ipv6_is_in_any_range ipv6_is_in_range ipv6_is_match isascii isutf8
    jaccard_index loggamma make_bag make_bag_if make_list_if make_list_with_nulls make_set_if
    make_string maxif merge_tdigest minif new_guid pack_all pack_dictionary parse_command_line
    parse_csv parse_ipv4_mask parse_ipv6_mask parse_path parse_urlquery parse_user_agent
    parse_version parse_xml percentile_array_tdigest percentile_tdigest percentiles
    percentiles_array percentiles_array_tdigest percentilesw percentilesw_array percentilew
    percentrank_tdigest punycode_domain_from_string punycode_domain_to_string
    punycode_from_string punycode_to_string rand range rank_tdigest regex_quote repeat
    replace_strings rolling_hash row_id row_rank_dense row_rank_min row_window_session
    series_abs series_acos series_add series_decompose series_decompose_anomalies
    series_decompose_forecast series_fft series_fill_const series_fill_linear series_fit_2lines
    series_fit_2lines_dynamic series_fit_line series_fit_poly series_ifft series_outliers
    series_periods_detect series_periods_validate series_seasonal series_stats set_difference
    set_equals set_intersect set_union stdevp strcmp string_size sumif take_anyif tdigest
    tdigest_merge todecimal toguid tohex translate treepath unicode_codepoints_from_string
    unicode_codepoints_to_string unixtime_microseconds_todatetime
    unixtime_milliseconds_todatetime unixtime_nanoseconds_todatetime unixtime_seconds_todatetime
    url_decode url_encode url_encode_component variancep welch_test
    zlib_compress_to_base64_string zlib_decompress_from_base64_string
    """
)
"""Functions Kusto has that may be missing here: refused as not supported, not as unknown."""

ALTERNATIVES: Final = {
    "reduce-by": "Use summarize over an expression that makes texts alike, as replace_regex().",
    "scan": "Use sort with prev(), next() or row_cumsum().",
    "consume": "Use count.",
    "facet-by": "Put it last in the query, outside of parentheses.",
    "external-data": "Ingest the file and query the table.",
    "external_table": "Ingest the file and query the table.",
}
"""What to write in the place of what is not supported."""

FUNCTION_ALTERNATIVES: Final = {
    "base64_decode_toguid": "Use base64_decode_toarray(); the order of the bytes is not certain.",
    "bin_auto": "Use bin() with the size, or bin_at().",
    "buildschema": "Use bag_keys() and gettype() of what you expect.",
    "gzip_compress_to_base64_string": "Compress before ingesting; decompressing is supported.",
    "zlib_compress_to_base64_string": "Compress before ingesting; decompressing is supported.",
    "hash_combine": "Use hash(strcat(a, ';', b)).",
    "hash_many": "Use hash(strcat(a, ';', b)).",
    "parse_version": "Compare toint(split(v, '.')[0]) and so on.",
    "parse_xml": "Convert to JSON before ingesting, and use parse_json().",
    "parse_user_agent": "Use has, or extract().",
    "percentilew": "Use mv-expand range(1, weight) and percentile().",
    "percentilesw": "Use mv-expand range(1, weight) and percentiles().",
    "row_window_session": "Use row_cumsum(iff(t - prev(t) > 5m, 1, 0)) to number sessions.",
    "series_fit_line": "Use series_fit_line_dynamic().",
    "series_stats": "Use series_stats_dynamic().",
    "assert": "Use where, or iff().",
    "estimate_data_size": "Use string_size(tostring(x)).",
}
"""What to write in the place of functions that are not supported."""

_RETURNS: Final = {
    "bool": "isnull isnotnull notnull isempty isnotempty isnan isinf isfinite tobool toboolean not "
    "set_has_element",
    "int": "toint dayofmonth dayofyear monthofyear getmonth getyear hourofday weekofyear "
    "week_of_year",
    "long": "tolong strlen indexof countof array_length array_index_of datetime_diff "
    "binary_and binary_or binary_xor binary_not binary_shift_left binary_shift_right "
    "count countif dcount dcountif parse_ipv4",
    "real": "todouble toreal sqrt exp exp2 exp10 log log2 log10 pow pi sin cos tan cot asin acos "
    "atan atan2 degrees radians gamma sign array_sum stdev stdevif variance varianceif avg avgif",
    "string": "tostring strcat strcat_delim strcat_array strrep substring tolower toupper trim "
    "trim_start trim_end reverse replace replace_string replace_regex extract gettype "
    "format_datetime base64_encode_tostring base64_encodestring base64_decode_tostring "
    "base64_decodestring hash_md5 hash_sha1 hash_sha256 parse_ipv6",
    "datetime": "now ago todatetime make_datetime datetime_add startofday startofweek startofmonth "
    "startofyear endofday endofweek endofmonth endofyear",
    "timespan": "totimespan make_timespan timespan dayofweek",
    "guid": "toguid",
    "dynamic": "parse_json todynamic pack pack_array bag_pack array_concat array_slice "
    "array_sort_asc array_sort_desc array_reverse split zip parse_url make_list make_set "
    "extract_all",
}
RETURN_TYPES: Final = (
    functions.RETURN_TYPES
    | aggregates.RETURN_TYPES
    | {name: kind for kind, names in _RETURNS.items() for name in names.split()}
)
"""Functions whose type does not depend on their arguments."""

TYPE_OF_ARGUMENT: Final = {
    "iif": 1,  # codespell:ignore iif
    "bin": 0, "floor": 0, "round": 0, "ceiling": 0, "abs": 0, "min": 0, "max": 0, "sum": 0,
    "sumif": 0, "any": 0, "take_any": 0,  "percentile": 0, "iff": 1, "case": 1,
    "coalesce": 0, "max_of": 0, "min_of": 0, "arg_max": 0, "arg_min": 0,
}  # fmt: skip
"""Functions with the type of the argument at this index."""

WIDENED: Final = frozenset(["bin", "floor", "abs", "sum", "sumif"])
"""Of those, the ones that make a ``long`` of an ``int``."""

INEXACT_OF_DECIMAL: Final = frozenset(
    [
        "avg", "avgif", "stdev", "stdevif", "stdevp", "variance", "varianceif", "variancep",
        "variancepif", "round",
    ]
)  # fmt: skip
"""Functions that would compute decimals as real."""

TEXT_OF_ARGUMENTS: Final = frozenset(["tostring", "strcat", "strcat_delim"])
"""Functions of the texts of their arguments."""

ARITHMETIC: Final = frozenset("+-*/%")
"""Operators that make a ``long`` of two ``int``."""

LOGICAL: Final = frozenset(["and", "or", "==", "!=", "<>", "<", "<=", ">", ">=", "=~", "!~"])
"""Operators that return ``bool``; so do all operators on strings."""

_RANK: Final = {"int": 0, "long": 1, "real": 2, "decimal": 3}


def arithmetic_type(operator: str, left: str | None, right: str | None) -> str | None:
    """The type of ``left operator right``, as Kusto has it; None if it is not known."""
    if left is None or right is None:
        return None
    if left in _RANK and right in _RANK:
        return max(left, right, "long", key=_RANK.__getitem__)
    if (left, right) == ("datetime", "datetime") and operator == "-":
        return "timespan"
    if "datetime" in (left, right) and "timespan" in (left, right):
        return "datetime"
    if left == right == "timespan":
        return "real" if operator == "/" else "timespan"
    return "timespan" if "timespan" in (left, right) else None
