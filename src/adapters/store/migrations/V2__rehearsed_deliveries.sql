-- What a dry run would have told is read by its time, and pruned as what was told is.
DROP INDEX deliveries_over;
CREATE INDEX deliveries_over ON deliveries (changed_at)
    WHERE state IN ('sent', 'failed', 'superseded', 'rehearsed');
CREATE INDEX deliveries_rehearsed ON deliveries (changed_at) WHERE state = 'rehearsed';
