-- Which other artifacts have the same verified bytes.

create index artifact_of_object on artifact (project_id, stored_digest, created_at desc, id desc)
    where stored_digest is not null;
