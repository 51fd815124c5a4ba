-- Points as rows, for SQL and Grafana: exact to the bit (except which NaN a NaN is), slower than the API.

create function little_int(bytes bytea, start integer, width integer) returns bigint
language sql immutable strict parallel safe
return (
    select bit_or(get_byte(bytes, start + place)::bigint << (8 * place)) from generate_series(0, width - 1) as place
);

create function little_float8(bytes bytea, start integer) returns double precision
language sql immutable strict parallel safe
return (
    select case
        when exponent = 2047 and fraction <> 0 then double precision 'NaN'
        when exponent = 2047 then sign * double precision 'Infinity'
        when exponent = 0 then sign * (fraction * power(2::double precision, -1074))
        else sign * ((fraction + (1::bigint << 52)) * power(2::double precision, exponent - 1075))
    end
    from little_int(bytes, start, 8) as bits,
        lateral (
            select case when bits < 0 then -1 else 1 end::double precision as sign,
                (bits >> 52) & 2047 as exponent,
                bits & ((1::bigint << 52) - 1) as fraction
        ) as parts
);

create function little_float4(bytes bytea, start integer) returns double precision
language sql immutable strict parallel safe
return (
    select case
        when exponent = 255 and fraction <> 0 then double precision 'NaN'
        when exponent = 255 then sign * double precision 'Infinity'
        when exponent = 0 then sign * (fraction * power(2::double precision, -149))
        else sign * ((fraction + (1 << 23)) * power(2::double precision, exponent - 150))
    end
    from little_int(bytes, start, 4) as bits,
        lateral (
            select case when bits >> 31 = 1 then -1 else 1 end::double precision as sign,
                (bits >> 23) & 255 as exponent,
                bits & ((1 << 23) - 1) as fraction
        ) as parts
);

-- The number at a place of a packed column: width, start, then a stride (width 0) or unsigned offsets.
create function packed_int(packed bytea, place integer) returns bigint
language sql immutable strict parallel safe
return little_int(packed, 1, 8) + case get_byte(packed, 0)
    when 0 then place * little_int(packed, 9, 8)
    else little_int(packed, 9 + place * get_byte(packed, 0), get_byte(packed, 0))
end;

-- `position` counts the points of a key in their block; (run_id, key, writer_id, seq, position) names a point.
create view metric_points as
select block.run_id, keyset.keys[place] as key, block.attempt,
    little_int(block.steps, point * 8, 8) as step,
    timestamptz 'epoch' + little_int(block.times, point * 8, 8) * interval '1 millisecond' as time,
    little_float8(block.vals, ((place - 1) * block.n + point) * 8) as value,
    block.writer_id, block.seq, point as position,
    timestamptz 'epoch' + block.received_ms * interval '1 millisecond' as received_at
from block
join keyset on keyset.id = block.keyset_id
cross join generate_series(1, keyset.size) as place
cross join generate_series(0, block.n - 1) as point
union all
select chunk.run_id, keyset.keys[place] as key, chunk.attempt,
    packed_int(chunk.steps, of_block.start + point) as step,
    timestamptz 'epoch' + packed_int(chunk.times, of_block.start + point) * interval '1 millisecond' as time,
    case get_byte(chunk.narrow, place - 1)
        when 1 then little_float4(chunk.vals, of_key.start + (of_block.start + point) * 4)
        else little_float8(chunk.vals, of_key.start + (of_block.start + point) * 8)
    end as value,
    chunk.writer_id, of_block.seq, point as position,
    timestamptz 'epoch' + packed_int(chunk.received, of_block.number) * interval '1 millisecond' as received_at
from chunk
join keyset on keyset.id = chunk.keyset_id
cross join lateral (
    select sized.seq, sized.number, sized.size,
        (sum(sized.size) over (order by sized.number) - sized.size)::integer as start
    from (
        select seqs.seq, (seqs.ordinality - 1)::integer as number,
            packed_int(chunk.sizes, (seqs.ordinality - 1)::integer)::integer as size
        from (
            select seq, row_number() over (order by seq) as ordinality
            from unnest(chunk.seqs) as part, generate_series(lower(part), upper(part) - 1) as seq
        ) as seqs
    ) as sized
) as of_block
cross join generate_series(0, of_block.size - 1) as point
cross join generate_series(1, keyset.size) as place
cross join lateral (
    select (chunk.n * (8 * (place - 1) - 4 * bit_count(substring(chunk.narrow from 1 for place - 1))))::integer as start
) as of_key;
