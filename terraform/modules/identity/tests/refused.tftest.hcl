# What would widen the trust is refused before a plan is made.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

run "any_branch_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/*"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "any_repository_of_the_owner_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "*"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "an_owner_with_a_pattern_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme*"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "no_number_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 0
        ref                = "refs/heads/main"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "ref_and_environment_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
        environment        = "production"
      }
    }
  }
  expect_failures = [var.releases]
}

run "neither_ref_nor_environment_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = null
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "any_environment_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = null
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
        environment        = "*"
      }
    }
  }
  expect_failures = [var.releases]
}

run "a_workflow_without_a_ref_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "acme/app/.github/workflows/release.yml"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "a_workflow_of_anybody_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "*/.github/workflows/release.yml@refs/heads/main"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/acme/app"
      }
    }
  }
  expect_failures = [var.releases]
}

run "every_repository_of_the_registry_is_refused" {
  command = plan
  variables {
    releases = {
      app = {
        owner              = "acme"
        owner_id           = 1001
        repository         = "app"
        repository_id      = 2002
        ref                = "refs/heads/main"
        workflow           = "hallmark-sh/hallmark/.github/workflows/release.yml@0123456789abcdef0123456789abcdef01234567"
        ecr_repository_arn = "arn:aws:ecr:eu-central-1:111122223333:repository/*"
      }
    }
  }
  expect_failures = [var.releases]
}

run "a_door_that_can_read_nothing_is_refused" {
  command = plan
  variables {
    releases                 = {}
    readable_repository_arns = []
    cluster                  = { name = "proof", arn = "arn:aws:eks:eu-central-1:111122223333:cluster/proof" }
  }
  expect_failures = [var.readable_repository_arns]
}

run "readers_of_everything_are_refused" {
  command = plan
  variables {
    releases                 = {}
    readable_repository_arns = ["arn:aws:ecr:eu-central-1:111122223333:repository/*"]
  }
  expect_failures = [var.readable_repository_arns]
}

run "any_service_account_is_refused" {
  command = plan
  variables {
    releases = {}
    readers  = { hallmark = { namespace = "hallmark", service_accounts = ["*"] } }
  }
  expect_failures = [var.readers]
}

run "another_issuer_is_refused" {
  command = plan
  variables {
    releases            = {}
    github_provider_arn = "arn:aws:iam::111122223333:oidc-provider/example.com"
  }
  expect_failures = [var.github_provider_arn]
}
