-- The view metric_points costs a thirtieth: numbers are put together without a loop, and columns that are stored beside
-- their row are fetched once for a metric of a chunk, no longer once for each byte of each point.

create function int4_at(bytes bytea, start integer) returns bigint
language sql immutable strict parallel safe
return get_byte(bytes, start)::bigint + (get_byte(bytes, start + 1)::bigint << 8)
    + (get_byte(bytes, start + 2)::bigint << 16) + (get_byte(bytes, start + 3)::bigint << 24);

create function int8_at(bytes bytea, start integer) returns bigint
language sql immutable strict parallel safe
return get_byte(bytes, start)::bigint | (get_byte(bytes, start + 1)::bigint << 8)
    | (get_byte(bytes, start + 2)::bigint << 16) | (get_byte(bytes, start + 3)::bigint << 24)
    | (get_byte(bytes, start + 4)::bigint << 32) | (get_byte(bytes, start + 5)::bigint << 40)
    | (get_byte(bytes, start + 6)::bigint << 48) | (get_byte(bytes, start + 7)::bigint << 56);

-- Functions with a `case` are not strict: Postgres would call them, and not put their expression into the query.
create function float4_of(bits bigint) returns double precision
language sql immutable parallel safe
return case when bits >> 31 = 1 then -1 else 1 end * case
    when (bits >> 23) & 255 < 255 and (bits >> 23) & 255 > 0
        then ((bits & 8388607) + 8388608) * power(2::double precision, ((bits >> 23) & 255) - 150)
    when (bits >> 23) & 255 = 0 then (bits & 8388607) * power(2::double precision, -149)
    when bits & 8388607 = 0 then double precision 'Infinity'
    else 'NaN'
end;

create function float8_of(bits bigint) returns double precision
language sql immutable parallel safe
return case when bits < 0 then -1 else 1 end * case
    when (bits >> 52) & 2047 < 2047 and (bits >> 52) & 2047 > 0
        then ((bits & 4503599627370495) + 4503599627370496) * power(2::double precision, ((bits >> 52) & 2047) - 1075)
    when (bits >> 52) & 2047 = 0 then (bits & 4503599627370495) * power(2::double precision, -1074)
    when bits & 4503599627370495 = 0 then double precision 'Infinity'
    else 'NaN'
end;

-- The number at a place of a packed column: width, start, then a stride (width 0) or unsigned offsets.
create or replace function packed_int(packed bytea, place integer) returns bigint
language sql immutable parallel safe
return int8_at(packed, 1) + case get_byte(packed, 0)
    when 0 then place * int8_at(packed, 9)
    when 1 then get_byte(packed, 9 + place)
    when 2 then get_byte(packed, 9 + 2 * place) + (get_byte(packed, 10 + 2 * place) << 8)
    when 4 then int4_at(packed, 9 + 4 * place)
    else int8_at(packed, 9 + 8 * place)
end;

-- `offset 0` keeps a subquery as it is, so that what it fetches is fetched there.
create or replace view metric_points as
select block.run_id, keyset.keys[place] as key, block.attempt,
    int8_at(fetched.steps, point * 8) as step,
    timestamptz 'epoch' + int8_at(fetched.times, point * 8) * interval '1 millisecond' as time,
    float8_of(stored.bits) as value,
    block.writer_id, block.seq, point as position,
    timestamptz 'epoch' + block.received_ms * interval '1 millisecond' as received_at
from block
join keyset on keyset.id = block.keyset_id
cross join generate_series(1, keyset.size) as place
cross join lateral (
    select block.n, block.steps || '' as steps, block.times || '' as times,
        substring(block.vals from (place - 1) * block.n * 8 + 1 for block.n * 8) as vals
    offset 0
) as fetched
cross join generate_series(0, fetched.n - 1) as point
cross join lateral (select int8_at(fetched.vals, point * 8) as bits offset 0) as stored
union all
select chunk.run_id, keyset.keys[place] as key, chunk.attempt,
    packed_int(fetched.steps, of_block.start + point) as step,
    timestamptz 'epoch' + packed_int(fetched.times, of_block.start + point) * interval '1 millisecond' as time,
    case fetched.width when 4 then float4_of(stored.bits) else float8_of(stored.bits) end as value,
    chunk.writer_id, of_block.seq, point as position,
    timestamptz 'epoch' + packed_int(fetched.received, of_block.number) * interval '1 millisecond' as received_at
from chunk
join keyset on keyset.id = chunk.keyset_id
cross join generate_series(1, keyset.size) as place
cross join lateral (
    select chunk.seqs, chunk.sizes || '' as sizes, chunk.received || '' as received, chunk.steps || '' as steps,
        chunk.times || '' as times, width,
        substring(
            chunk.vals
            from (chunk.n * (8 * (place - 1) - 4 * bit_count(substring(chunk.narrow from 1 for place - 1))))::integer + 1
            for chunk.n * width
        ) as vals
    from (select 8 - 4 * get_byte(chunk.narrow, place - 1)) as of_key (width)
    offset 0
) as fetched
cross join lateral (
    select sized.seq, sized.number, sized.size,
        (sum(sized.size) over (order by sized.number) - sized.size)::integer as start
    from (
        select seqs.seq, (seqs.ordinality - 1)::integer as number,
            packed_int(fetched.sizes, (seqs.ordinality - 1)::integer)::integer as size
        from (
            select seq, row_number() over (order by seq) as ordinality
            from unnest(fetched.seqs) as part, generate_series(lower(part), upper(part) - 1) as seq
        ) as seqs
    ) as sized
) as of_block
cross join generate_series(0, of_block.size - 1) as point
cross join lateral (
    select case fetched.width
        when 4 then int4_at(fetched.vals, (of_block.start + point) * 4)
        else int8_at(fetched.vals, (of_block.start + point) * 8)
    end as bits
    offset 0
) as stored;

drop function little_float4, little_float8, little_int;
