-- A long series is drawn from fewer landmarks. Chunks from before have no coarse tier: it is made of their tier when read.
alter table chunk add column coarse_tier bytea;     -- five landmarks of each 2,048 points, as in `tier`
alter table chunk alter coarse_tier set storage external;
